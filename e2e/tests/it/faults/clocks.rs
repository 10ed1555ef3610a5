//! Clocks that differ or jump, under load.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::simulated_clients::SimulatedClients;
use hamro_e2e::{Client, Deployment, FaultTest, Setup, wait_until};
use hamro_verification::contract::{BookingIntent, email};
use hamro_verification::database_clock::read_clock;
use nix::sys::signal::Signal;
use uuid::Uuid;

use super::database::end_sessions;

#[tokio::test(flavor = "multi_thread")]
async fn machines_with_different_clocks_break_no_guarantee() -> Result<()> {
    // With few prefetched parcels, bookings wait in the queue while the workers are paused.
    let setup = Setup { variables: vec![("PREFETCH", "2"), ("BATCH_MAX", "64")], ..Setup::default() };
    FaultTest::start(setup)
        .await?
        .passes(async |deployment, clients| {
            for clock in ["clock=+7m", "clock=-7m"] {
                deployment.start_api(&[("HAMRO_FAULTS", clock)]).await?;
            }
            clients.set_endpoints(&deployment.apis)?;
            // By the first clock every booking is past its deadline; by the second none ever is.
            for clock in ["clock=+20m", "clock=-20m"] {
                deployment.start_worker(&[("HAMRO_FAULTS", clock)]).await?;
            }
            deployment.stop_worker(0).await?;
            clients.wait_for_ended(100).await?;
            let workers = &deployment.workers;
            workers.iter().try_for_each(|worker| worker.signal(Signal::SIGSTOP))?;
            let checked = queued_bookings_have_plausible_statuses(deployment, clients).await;
            workers.iter().try_for_each(|worker| worker.signal(Signal::SIGCONT))?;
            checked
        })
        .await
}

/// Books by every instance while no worker runs, and reads each status from every instance.
async fn queued_bookings_have_plausible_statuses(
    deployment: &Deployment,
    clients: &SimulatedClients,
) -> Result<()> {
    wait_until("bookings are waiting", async || {
        Ok((deployment.waiting_messages().await? >= 20).then_some(()))
    })
    .await?;
    for api in &deployment.apis {
        let intent = BookingIntent { key: None, ..clients.intent_for_free_seat() };
        let address = email(&clients.recorded.run, intent.buyer);
        let customer = address.trim_end_matches("@example.com");
        let accepted = api.client.create_booking(customer, &[intent.seats[0].into()]).await?;
        let path = accepted.location()?;
        let ticket: Uuid = path.rsplit('/').next().context("no ticket")?.parse()?;
        clients.record_published(intent, ticket);
        for api in &deployment.apis {
            has_plausible_status(deployment, &api.client, path).await?;
        }
    }
    Ok(())
}

async fn has_plausible_status(deployment: &Deployment, client: &Client, path: &str) -> Result<()> {
    let status = wait_until("the instance knows the length of the queue", async || {
        let status = client.get(path).await?.body;
        Ok(status["queue"]["ahead"].is_u64().then_some(status))
    })
    .await?;
    let depth = client.get("/queue").await?.body["depth"].as_u64().context("no depth")?;
    let ahead = status["queue"]["ahead"].as_u64().unwrap_or_default();
    ensure!((1..=2 * depth).contains(&ahead), "{ahead} of {depth} bookings are ahead: {status}");
    let age: f64 =
        sqlx::query_scalar("SELECT extract(epoch FROM clock_timestamp() - $1::timestamptz)::float8")
            .bind(status["submittedAt"].as_str().map(str::to_owned))
            .fetch_one(&deployment.pool)
            .await?;
    ensure!((-1.0..30.0).contains(&age), "it was submitted {age} seconds ago: {status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_clock_that_jumps_ahead_and_back_breaks_no_guarantee() -> Result<()> {
    let mut test = FaultTest::start(Setup { workers: 0, ..Setup::default() }).await?;
    let deployment = &mut test.deployment;
    deployment.make_database_clock_settable().await?;
    end_sessions(deployment).await?;
    deployment.start_api(&[]).await?;
    deployment.start_worker(&[]).await?;
    deployment.start_worker(&[]).await?;
    test.clients.set_endpoints(&deployment.apis)?;
    // Until it measures the clock again, a server takes times by an earlier offset.
    test.expectations.server_clock_error = Duration::from_mins(11);
    test.passes(async |deployment, clients| {
        for offset in ["5 minutes", "0 minutes", "-5 minutes", "0 minutes"] {
            deployment.set_database_clock(offset).await?;
            // The proof compares times by this clock with times of requests, so it has to know each offset.
            read_clock(&clients.recorded.run_log, &deployment.pool.connect_options()).await?;
            clients.wait_for_ended(100).await?;
        }
        Ok(())
    })
    .await
}
