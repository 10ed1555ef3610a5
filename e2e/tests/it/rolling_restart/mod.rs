//! What clients see while instances are restarted one after another.

mod behind_proxies;
mod visitors;

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::try_join_all;
use hamro_e2e::reverse_proxy::free_port;
use hamro_e2e::{Client, Deployment, Events, Setup, wait_until};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Sends a request on a new connection, and returns everything until the server closes it.
async fn exchange(address: &str, request: &str) -> Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(format!("{request}\r\nHost: x\r\n\r\n").as_bytes()).await?;
    let mut response = String::new();
    tokio::time::timeout(Duration::from_secs(30), connection.read_to_string(&mut response))
        .await
        .context("the connection stays open")??;
    Ok(response)
}

async fn is_not_ready(client: &Client) -> Result<()> {
    let not_ready = wait_until("the instance is not ready", async || {
        let ready = client.get("/health/ready").await?;
        Ok((ready.status == 503).then_some(ready))
    })
    .await?;
    let detail = not_ready.body["detail"].as_str().unwrap_or_default();
    ensure!(not_ready.code() == "not-ready" && detail.contains("shutting down"), "{not_ready:?}");
    Ok(())
}

#[tokio::test]
async fn a_draining_instance_is_not_ready_and_serves_every_request() -> Result<()> {
    let variables = vec![("DRAIN_DELAY", "5m"), ("SHUTDOWN_TIMEOUT", "10m")];
    Deployment::run(Setup { apis: 1, workers: 0, variables, ..Setup::default() }, async |deployment| {
        let mut draining = deployment.apis.remove(0);
        let client = draining.client.clone();
        let seats = client.seat_ids(0).await?;
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        let events = format!("{}/events", accepted.location()?);
        let mut open = Events::open(&client, &events).await?;
        assert_eq!(open.next().await?.context("no event")?.id, "queued");
        let held = {
            let (client, path) = (client.clone(), format!("{}?wait=25", accepted.location()?));
            tokio::spawn(async move { client.get(&path).await })
        };

        draining.process.signal(Signal::SIGTERM)?;
        is_not_ready(&client).await?;
        assert_eq!(open.next().await?, None, "the stream ends, and its client reconnects elsewhere");
        let response = exchange(client.address(), "GET /queue HTTP/1.1").await?;
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.contains("\r\nconnection: close\r\n"), "{response}");
        // A client that comes back here learns the status, and after which time to try again.
        let response = exchange(client.address(), &format!("GET {events} HTTP/1.1")).await?;
        assert!(response.contains("event: status\n") && response.contains("retry: "), "{response}");
        assert_eq!(response.to_lowercase().matches("\r\nconnection: ").count(), 1, "{response}");
        assert_eq!(client.create_booking("bob", &seats[1..2]).await?.status, 202);

        // A request that is held ends with its outcome.
        deployment.start_worker(&[]).await?;
        assert_eq!(held.await??.body["status"], "confirmed");

        draining.process.signal(Signal::SIGTERM)?;
        assert!(!draining.process.ended().await?.success(), "the second signal ends it at once");
        Ok(())
    })
    .await
}

/// Sends requests, each on a new connection, until a connection is refused. Returns how many were answered.
async fn connect_until_refused(address: String) -> Result<usize> {
    for answered in 0.. {
        let response = match exchange(&address, "GET /health/live HTTP/1.1\r\nConnection: close").await {
            Ok(response) => response,
            Err(error) if is_refusal(&error) => return Ok(answered),
            Err(error) => return Err(error),
        };
        ensure!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{answered}: {response:?}");
    }
    Ok(0)
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[tokio::test]
async fn an_instance_that_stops_answers_or_refuses_every_connection() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        for _ in 0..5 {
            let number = deployment.start_api(&[]).await?;
            let address = deployment.apis[number].client.address().to_owned();
            let connecting = (0..32).map(|_| tokio::spawn(connect_until_refused(address.clone())));
            let connecting: Vec<_> = connecting.collect();
            deployment.apis[number].client.get("/queue").await?;
            deployment.stop_api(number).await?;
            let answered = try_join_all(connecting).await?.into_iter().collect::<Result<Vec<_>>>()?;
            assert!(answered.iter().sum::<usize>() > 0, "{answered:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_instance_that_starts_refuses_connections_until_it_is_ready() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        for _ in 0..5 {
            let port = free_port().await?.to_string();
            let (address, stop) = (format!("127.0.0.1:{port}"), CancellationToken::new());
            let asking = tokio::spawn({
                let stop = stop.clone();
                async move {
                    // The first response, as soon as there is one.
                    let mut ticks = tokio::time::interval(Duration::from_millis(2));
                    while !stop.is_cancelled() {
                        ticks.tick().await;
                        match exchange(&address, "GET /health/ready HTTP/1.1\r\nConnection: close").await {
                            Err(error) if is_refusal(&error) => {}
                            response => return response,
                        }
                    }
                    bail!("every connection was refused")
                }
            });
            let number = deployment.start_api(&[("PORT", &port)]).await?;
            let response = asking.await??;
            assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
            stop.cancel();
            deployment.stop_api(number).await?;
        }
        Ok(())
    })
    .await
}

/// Clients behind a load balancer that sends requests only to instances that are ready.
struct Balancer {
    instances: Mutex<Vec<(Client, bool)>>,
    stop: CancellationToken,
}

impl Balancer {
    fn add(&self, client: Client) {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner).push((client, true));
    }

    fn ready(&self) -> Vec<Client> {
        let instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
        instances.iter().filter(|(_, is_ready)| *is_ready).map(|(client, _)| client.clone()).collect()
    }

    /// Asks each instance in turn whether it is ready.
    async fn check(&self) {
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        while self.stop.run_until_cancelled(ticks.tick()).await.is_some() {
            for client in self.ready() {
                let is_ready = client.get("/health/ready").await.is_ok_and(|ready| ready.status == 200);
                let mut instances = self.instances.lock().unwrap_or_else(PoisonError::into_inner);
                let same = instances.iter_mut().find(|(other, _)| other.instance() == client.instance());
                if let Some((_, was_ready)) = same {
                    *was_ready = is_ready;
                }
            }
        }
    }

    /// Sends requests one after another, in turn to the instances that are ready. Returns how many.
    async fn send_requests(&self, customer: usize) -> Result<usize> {
        let mut sent = 0;
        while !self.stop.is_cancelled() {
            let ready = self.ready();
            let Some(client) = ready.get(sent % ready.len().max(1)) else { bail!("no instance is ready") };
            let response = if sent % 2 == 0 {
                client.create_booking(&format!("customer{customer}"), &[1]).await
            } else {
                client.get("/queue").await
            };
            let response = response.with_context(|| format!("request {sent} got no response"))?;
            ensure!([200, 202].contains(&response.status), "{response:?}");
            sent += 1;
        }
        Ok(sent)
    }
}

#[tokio::test]
async fn no_request_is_refused_while_instances_are_restarted_one_after_another() -> Result<()> {
    let variables = vec![("DRAIN_DELAY", "2s"), ("EARLY_REJECTION", "off")];
    let setup = Setup { apis: 2, variables, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let stop = CancellationToken::new();
        let balancer = Arc::new(Balancer { instances: Mutex::default(), stop: stop.clone() });
        deployment.apis.iter().for_each(|api| balancer.add(api.client.clone()));
        let checker = tokio::spawn({
            let balancer = balancer.clone();
            async move { balancer.check().await }
        });
        let buyers = (0..4).map(|buyer| {
            let balancer = balancer.clone();
            tokio::spawn(async move { balancer.send_requests(buyer).await })
        });
        let buyers: Vec<_> = buyers.collect();
        for _ in 0..2 {
            let mut old = deployment.apis.remove(0);
            old.process.signal(Signal::SIGTERM)?;
            let status = old.process.ended().await?;
            ensure!(status.success(), "{}", old.process.printed());
            let new = deployment.start_api(&[]).await?;
            balancer.add(deployment.apis[new].client.clone());
        }
        stop.cancel();
        checker.await?;
        let sent = try_join_all(buyers).await?.into_iter().collect::<Result<Vec<_>>>()?;
        assert!(sent.iter().all(|sent| *sent > 10), "{sent:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_that_is_stopped_is_not_ready_and_finishes_its_batch() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let number = deployment.start_worker(&[("WORKER_HTTP_PORT", "0")]).await?;
        let mut worker = deployment.workers.remove(number);
        let health = Client::new(&worker.line_after("serving health checks on ").await?);
        health.wait_until_ready().await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let holder = deployment.hold_seat(seats[0]).await?;
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        deployment.worker_waits_for_a_lock().await?;

        worker.signal(Signal::SIGTERM)?;
        wait_until("the worker is not ready", async || {
            let ready = health.get("/health/ready").await?;
            let status = ready.body["status"].as_str().unwrap_or_default();
            Ok((ready.status == 503 && status.contains("shutting down")).then_some(()))
        })
        .await?;
        holder.rollback().await?;
        assert!(worker.ended().await?.success(), "{}", worker.printed());
        assert_eq!(client.get(accepted.location()?).await?.body["status"], "confirmed");
        wait_until("the instance knows that no worker is running", async || {
            Ok((client.get("/queue").await?.body["workers"] == 0).then_some(()))
        })
        .await
    })
    .await
}
