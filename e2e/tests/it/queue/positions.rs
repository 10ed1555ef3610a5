//! The place of a ticket in the queue.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hamro_e2e::{Client, Deployment, Setup, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use sqlx::{Postgres, Transaction};

/// More bookings than these are held by one worker.
const ALL: (&str, &str) = ("PREFETCH", "2000");

/// Waits until the instance tracks the queue, and returns its state.
async fn queue(client: &Client, depth: u64, workers: u64) -> Result<Value> {
    wait_until(&format!("{depth} bookings are in the queue and {workers} workers run"), async || {
        let queue = client.get("/queue").await?.body;
        Ok((queue["depth"] == depth && queue["workers"] == workers).then_some(queue))
    })
    .await
}

/// Books a seat this many times, by the instances in turn.
async fn book(clients: &[&Client], seat: i64, count: usize) -> Result<()> {
    let bookings = (0..count).map(async |n| {
        let accepted = clients[n % clients.len()].create_booking(&format!("customer{n}"), &[seat]).await?;
        ensure!(accepted.status == 202, "{accepted:?}");
        Ok(())
    });
    stream::iter(bookings).buffer_unordered(20).try_collect().await
}

/// Keeps workers from settling anything: a table lock that they wait for, and retry.
async fn block_workers(deployment: &Deployment) -> Result<Transaction<'static, Postgres>> {
    let mut holder = deployment.pool.begin().await?;
    sqlx::raw_sql("LOCK TABLE sales IN ACCESS EXCLUSIVE MODE").execute(&mut *holder).await?;
    Ok(holder)
}

/// What the instance says about the ticket, once it knows its position.
async fn known_position(client: &Client, path: &str) -> Result<(u64, Value)> {
    wait_until("the instance knows the position", async || {
        let queue = client.get(path).await?.body["queue"].clone();
        Ok(queue["ahead"].as_u64().map(|ahead| (ahead, queue["etaSeconds"].clone())))
    })
    .await
}

/// Reads the position until `condition`, and checks that it never differs from `expected`.
async fn stays(
    client: &Client,
    path: &str,
    expected: u64,
    mut condition: impl AsyncFnMut() -> Result<bool>,
) -> Result<()> {
    wait_until("the position was observed for long enough", async || {
        let status = client.get(path).await?.body;
        ensure!(status["queue"]["ahead"] == expected, "{expected} bookings were ahead: {status}");
        Ok(condition().await?.then_some(()))
    })
    .await
}

/// Reads the position until the ticket is settled, and checks that it never rises.
async fn falls_until_settled(client: &Client, path: &str) -> Result<()> {
    let mut last = u64::MAX;
    wait_until("the ticket is settled", async || {
        let status = client.get(path).await?.body;
        if status["status"] != "queued" {
            return Ok(Some(()));
        }
        let ahead = status["queue"]["ahead"].as_u64().context("the position is unknown")?;
        ensure!(ahead <= last, "the position rose from {last} to {ahead}");
        last = ahead;
        Ok(None)
    })
    .await
}

#[tokio::test]
async fn the_last_of_1000_bookings_has_999_ahead_on_every_instance_while_no_worker_runs() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 0, ..Setup::default() }, async |deployment| {
        let clients = [deployment.apis[0].client.clone(), deployment.apis[1].client.clone()];
        for client in &clients {
            queue(client, 0, 0).await?;
        }
        let seats = clients[0].seat_ids(0).await?;
        book(&[&clients[0], &clients[1]], seats[0], 999).await?;
        for client in &clients {
            queue(client, 999, 0).await?;
        }
        // The clocks of the instances differ a little, so bookings of about the same time may count in another order.
        let counted = Instant::now();
        wait_until("all clocks have passed that time", async || {
            Ok((counted.elapsed() > Duration::from_secs(1)).then_some(()))
        })
        .await?;
        let accepted = clients[1].create_booking("last", &seats[..1]).await?;
        let path = accepted.location()?;
        for client in &clients {
            let state = queue(client, 1000, 0).await?;
            assert_eq!((&state["drainRate"], &state["estimatedWaitSeconds"]), (&Value::Null, &Value::Null));
            let (ahead, eta) = known_position(client, path).await?;
            assert!(ahead == 999 && eta.is_null(), "{ahead}, {eta}");
            let mut readings = 0;
            stays(client, path, ahead, async || {
                readings += 1;
                Ok(readings > 250)
            })
            .await?;
        }
        // An instance that was not running when the ticket was issued does not know.
        let later = deployment.start_api(&[]).await?;
        queue(&deployment.apis[later].client, 1000, 0).await?;
        let status = deployment.apis[later].client.get(path).await?.body;
        assert_eq!((&status["status"], &status["queue"]["ahead"]), (&"queued".into(), &Value::Null));

        deployment.start_worker(&[]).await?;
        falls_until_settled(&clients[0], path).await?;
        queue(&clients[0], 0, 1).await?;
        // The worker's next heartbeat reports its rate.
        wait_until("the rate is known", async || {
            let queue = clients[0].get("/queue").await?.body;
            Ok(queue["drainRate"].is_number().then_some(()))
        })
        .await?;
        deployment.stop_worker(0).await?;
        queue(&clients[0], 0, 0).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn bookings_that_a_worker_holds_are_ahead_on_every_instance() -> Result<()> {
    Deployment::run(Setup { variables: vec![ALL], ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        queue(&client, 0, 1).await?;
        let seats = client.seat_ids(0).await?;
        let holder = block_workers(deployment).await?;
        book(&[&client], seats[0], 300).await?;
        wait_until("the worker holds all of them", async || {
            Ok((deployment.waiting_messages().await? == 0).then_some(()))
        })
        .await?;
        let first = client.create_booking("first", &seats[..1]).await?;
        assert_eq!(first.body["queue"]["ahead"], 300, "{first:?}");

        // An instance that starts now learns from the worker's heartbeats what is not in the queue.
        let later = deployment.start_api(&[]).await?;
        let other = deployment.apis[later].client.clone();
        queue(&other, 301, 1).await?;
        let second = other.create_booking("second", &seats[..1]).await?;
        assert_eq!(known_position(&other, second.location()?).await?.0, 301);
        // An instance knows within 10 ms when another one has issued a ticket: one booking more or less here.
        let (ahead, _) = known_position(&client, second.location()?).await?;
        assert!((300..=302).contains(&ahead), "{ahead}");
        assert_eq!(other.get(first.location()?).await?.body["queue"]["ahead"], Value::Null);
        holder.rollback().await?;
        falls_until_settled(&other, second.location()?).await?;
        queue(&other, 0, 1).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn positions_neither_rise_nor_vanish_when_a_worker_is_killed_or_frozen() -> Result<()> {
    Deployment::run(Setup { workers: 0, variables: vec![ALL], ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        for (signal, seat) in [(Signal::SIGKILL, seats[0]), (Signal::SIGSTOP, seats[1])] {
            let worker = deployment.start_worker(&[]).await?;
            queue(&client, 0, 1).await?;
            let holder = block_workers(deployment).await?;
            book(&[&client], seat, 100).await?;
            deployment.worker_waits_for_a_lock().await?;
            let accepted = client.create_booking("last", &[seat]).await?;
            let path = accepted.location()?;
            if signal == Signal::SIGKILL {
                deployment.kill_worker(worker).await?;
            } else {
                deployment.workers[worker].signal(signal)?;
            }
            // Its heartbeats are missed, and the length of the queue is read several times after that.
            let mut readings_without_worker = 0;
            stays(&client, path, 100, async || {
                let state = client.get("/queue").await?.body;
                ensure!(state["depth"] == 101, "{state}");
                readings_without_worker += u32::from(state["workers"] == 0);
                Ok(readings_without_worker > 100)
            })
            .await?;
            assert_eq!(known_position(&client, path).await?, (100, Value::Null));
            holder.rollback().await?;
            if signal == Signal::SIGKILL {
                deployment.start_worker(&[]).await?;
            } else {
                deployment.workers[worker].signal(Signal::SIGCONT)?;
            }
            falls_until_settled(&client, path).await?;
            queue(&client, 0, 1).await?;
            deployment.stop_workers().await?;
            queue(&client, 0, 0).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_first_booking_of_idle_workers_takes_about_a_second() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let idle = queue(&client, 0, 1).await?;
        assert_eq!(idle["estimatedWaitSeconds"], 1, "nothing was settled so far");
        let holder = block_workers(deployment).await?;
        let accepted = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
        assert_eq!(accepted.body["queue"]["etaSeconds"], 1, "{accepted:?}");
        holder.rollback().await?;
        falls_until_settled(&client, accepted.location()?).await
    })
    .await
}
