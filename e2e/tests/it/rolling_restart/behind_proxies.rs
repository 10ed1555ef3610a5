//! An upgrade and a rollback under load, behind the proxies with the configurations in `deploy/proxy/`.
//!
//! `make test-upgrade` runs these tests with an earlier build as the previous one. In `make test` this build stands for both.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamro_e2e::deployment::Programs;
use hamro_e2e::process::Process;
use hamro_e2e::reverse_proxy::{Place, ProxyKind, ReverseProxy, free_port};
use hamro_e2e::simulated_clients::SimulatedClients;
use hamro_e2e::{Deployment, FaultTest, Setup};

use super::visitors::Visitors;

/// How long a client retries.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Few enough for a machine that also runs two builds: an overloaded installation refuses requests, restart or not.
const CLIENTS: usize = 8;

/// Bookings that end between two restarts, so that each step runs under load.
const BETWEEN: usize = 50;

#[tokio::test]
async fn an_upgrade_and_a_rollback_behind_nginx_fail_no_request() -> Result<()> {
    upgrade_and_roll_back(ProxyKind::Nginx).await
}

#[tokio::test]
async fn an_upgrade_and_a_rollback_behind_caddy_fail_no_request() -> Result<()> {
    upgrade_and_roll_back(ProxyKind::Caddy).await
}

#[expect(clippy::print_stderr, reason = "docs/RELIABILITY.md quotes the figures")]
async fn upgrade_and_roll_back(kind: ProxyKind) -> Result<()> {
    let ports = [free_port().await?, free_port().await?];
    let variables = vec![("DRAIN_DELAY", "5s"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let setup = Setup { variables, ..Setup::without_processes() };
    let mut test = Box::pin(FaultTest::start_prepared(setup, RETRY_TIMEOUT, async |deployment| {
        // A restart is no fault.
        deployment.expects_errors = false;
        deployment.programs = Programs::previous();
        for port in ports {
            deployment.start_api(&[("PORT", &port.to_string())]).await?;
        }
        for _ in 0..2 {
            deployment.start_worker(&[]).await?;
        }
        Ok(())
    }))
    .await?;
    test.number_of_clients = CLIENTS;
    let proxy = ReverseProxy::start(kind, Place::Root, ports).await?;
    test.clients.set_proxy(proxy.client()?);
    let mut visitors = Visitors::start(proxy.client()?, test.concert()?);
    let clients = test.clients.clone();
    let mut figures = None;
    test.passes(async |deployment, clients| {
        let (started, before) = (Instant::now(), clients.intents());
        migrate(deployment).await?;
        deployment.programs = Programs::default();
        replace_workers(deployment, clients).await?;
        replace_apis(deployment, clients, ports).await?;
        deployment.programs = Programs::previous();
        replace_apis(deployment, clients, ports).await?;
        replace_workers(deployment, clients).await?;
        figures = Some((started.elapsed(), clients.intents() - before));
        visitors.have_seen_all_sales(deployment).await?;
        visitors.stop().await;
        Ok(())
    })
    .await
    .with_context(|| proxy.printed())?;
    let (elapsed, bookings) = figures.context("no figures")?;
    let (requests, failed) = (visitors.requests(), clients.failed_requests() + visitors.failed());
    eprintln!(
        "{kind:?}: {elapsed:.1?} with {bookings} bookings, and {requests} requests of visitors, whose streams were resumed \
         {} times; {failed} requests failed",
        visitors.resumed(),
    );
    ensure!(visitors.resumed() > 0, "no stream ended");
    ensure!(failed == 0, "{failed} requests failed\n{}", proxy.printed());
    Ok(())
}

/// The first step of an upgrade: the programs of the previous build still run.
async fn migrate(deployment: &Deployment) -> Result<()> {
    let output = Process::output("hamro-api", &["migrate"], &deployment.environment(&[])).await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

async fn replace_workers(deployment: &mut Deployment, clients: &SimulatedClients) -> Result<()> {
    for _ in 0..2 {
        deployment.stop_worker(0).await?;
        deployment.start_worker(&[]).await?;
        clients.wait_for_ended(BETWEEN).await?;
    }
    Ok(())
}

async fn replace_apis(
    deployment: &mut Deployment,
    clients: &SimulatedClients,
    ports: [u16; 2],
) -> Result<()> {
    for port in ports {
        // The first one is always the one that has run for longest, because a new one is added at the end.
        deployment.stop_api(0).await?;
        deployment.start_api(&[("PORT", &port.to_string())]).await?;
        clients.wait_for_ended(BETWEEN).await?;
    }
    Ok(())
}
