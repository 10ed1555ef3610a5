//! Tests of the checker: with a safeguard disabled, it names the broken guarantee.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::simulated_clients::{ClientBehaviour, SimulatedClients};
use hamro_e2e::{Deployment, FaultTest, Setup, tables, wait_until};
use hamro_verification::invariant::Invariant;

use super::early_rejection::{is_free, release};
use super::intake::{ONE_BY_ONE, fill_the_queue};
use super::workers::expired;

/// Short, because clients retry until this timeout for tickets that are lost.
const SHORT_TIMEOUT: Duration = Duration::from_secs(2);

async fn start(workers: usize, mut variables: Vec<(&'static str, &'static str)>) -> Result<FaultTest> {
    variables.push(("BOOKING_WAIT", "1s"));
    FaultTest::start_with_retry_timeout(Setup { workers, variables, ..Setup::default() }, SHORT_TIMEOUT).await
}

/// Starts a worker that dies at its second batch. That batch is large, because it grows while the first one cannot lock
/// its seats.
async fn dies_with_a_large_batch(
    deployment: &mut Deployment,
    faults: &str,
    backlog: impl Future<Output = Result<()>>,
) -> Result<()> {
    deployment.kill_worker(0).await?;
    let mut holder = deployment.pool.begin().await?;
    sqlx::raw_sql("LOCK TABLE seats IN EXCLUSIVE MODE").execute(&mut *holder).await?;
    let doomed = deployment.start_worker(&[("HAMRO_FAULTS", faults)]).await?;
    deployment.worker_waits_for_a_lock().await?;
    // Bookings that are queued from here on are not in the first batch.
    backlog.await?;
    wait_until("the worker has received the others", async || {
        Ok((deployment.waiting_messages().await? == 0).then_some(()))
    })
    .await?;
    holder.rollback().await?;
    deployment.workers.remove(doomed).ended().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_detects_a_worker_that_acknowledges_before_its_commit() -> Result<()> {
    let broken = start(1, Vec::new())
        .await?
        .breaks(async |deployment, clients| {
            let faults = "worker.early-ack=break,worker.before-commit=kill@2";
            dies_with_a_large_batch(deployment, faults, clients.wait_for_accepted(15)).await?;
            deployment.start_worker(&[]).await?;
            Ok(())
        })
        .await?;
    assert_eq!(broken, BTreeSet::from([Invariant::EveryTicketEnds]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_detects_a_worker_that_does_not_look_up_settled_tickets() -> Result<()> {
    let broken = start(1, Vec::new())
        .await?
        .breaks(async |deployment, clients| {
            let faults = "worker.after-commit=kill@2";
            dies_with_a_large_batch(deployment, faults, clients.wait_for_accepted(15)).await?;
            // Some clients have read final statuses.
            clients.wait_for_ended(5).await?;
            deployment.start_worker(&[("HAMRO_FAULTS", "worker.no-look-up=break")]).await?;
            Ok(())
        })
        .await?;
    let expected = [
        Invariant::RefusalsAreTrue,
        Invariant::SeatMapAgrees,
        Invariant::DatabaseAgrees,
        Invariant::DatabaseIsConsistent,
    ];
    assert_eq!(broken, BTreeSet::from(expected));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_detects_workers_that_lock_seats_out_of_order() -> Result<()> {
    let variables = vec![("HAMRO_FAULTS", "worker.unordered-locks=break"), ("PREFETCH", "1")];
    let broken = start(4, variables)
        .await?
        .breaks(async |deployment, clients| {
            while tables::deadlocks(&deployment.pool).await? == 0 {
                clients.burst(200).await?;
            }
            Ok(())
        })
        .await?;
    assert_eq!(broken, BTreeSet::from([Invariant::NoDeadlock]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_detects_a_worker_that_ignores_deadlines() -> Result<()> {
    let variables = vec![("BOOKING_DEADLINE", "2s"), ("BOOKING_WAIT", "1s")];
    let broken = FaultTest::start(Setup { variables, workers: 1, ..Setup::default() })
        .await?
        .breaks(async |deployment, _| {
            deployment.kill_worker(0).await?;
            expired(deployment, 10).await?;
            deployment.start_worker(&[("HAMRO_FAULTS", "worker.no-deadline=break")]).await?;
            Ok(())
        })
        .await?;
    assert_eq!(broken, BTreeSet::from([Invariant::DeadlinesHold]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_detects_an_api_that_treats_a_nack_as_an_ack() -> Result<()> {
    let mut variables = ONE_BY_ONE.to_vec();
    variables.push(("HAMRO_FAULTS", "api.nack-is-ack=break"));
    let broken = start(1, variables)
        .await?
        .breaks(async |deployment, clients| {
            fill_the_queue(deployment, clients, clients.wait_for_accepted(150)).await
        })
        .await?;
    assert_eq!(broken, BTreeSet::from([Invariant::EveryTicketEnds]));
    Ok(())
}

/// Books the seat for other buyers until one of them is refused without a ticket.
async fn refused_early(clients: &SimulatedClients, seat: i32) -> Result<()> {
    wait_until("the seat is refused", async || {
        let response = clients.try_once(&clients.intent_for(seat)).await;
        Ok(response.is_early_rejection().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_detects_an_api_that_refuses_a_seat_that_was_freed() -> Result<()> {
    let variables = vec![("HAMRO_FAULTS", "api.ignore-freed-versions=break")];
    let broken = start(1, variables)
        .await?
        .breaks(async |deployment, clients| {
            let mut intent = clients.intent_for_free_seat();
            let seat = intent.seats[0];
            loop {
                let ticket =
                    clients.book_and_follow(&intent, ClientBehaviour::Poll).await?.context("no ticket")?;
                refused_early(clients, seat).await?;
                release(deployment, ticket).await?;
                is_free(deployment, seat).await?;
                intent = clients.intent_for(seat);
                // If the seats were read again since, for another reason, the seat is known to be free and sold again.
                if clients.try_once(&intent).await.is_early_rejection() {
                    break Ok(());
                }
            }
        })
        .await?;
    assert_eq!(broken, BTreeSet::from([Invariant::RefusalsAreTrue]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_detects_an_api_that_refuses_a_seat_because_a_booking_of_it_was_accepted() -> Result<()> {
    let variables = vec![("HAMRO_FAULTS", "api.accepted-is-sold=break")];
    let broken = start(1, variables)
        .await?
        .breaks(async |deployment, clients| {
            let known = clients.intent_for_free_seat();
            clients.book_and_follow(&known, ClientBehaviour::Poll).await?;
            refused_early(clients, known.seats[0]).await?;
            deployment.kill_worker(0).await?;
            let intent = clients.intent_for_free_seat();
            clients.run_intent(&intent, ClientBehaviour::DoNotFollow).await?;
            refused_early(clients, intent.seats[0]).await?;
            // Longer than the error of the times of the sale.
            let now = "SELECT extract(epoch FROM now())::float8";
            let refused_at: f64 = sqlx::query_scalar(now).fetch_one(&deployment.pool).await?;
            wait_until("a second has passed", async || {
                let later: f64 = sqlx::query_scalar(now).fetch_one(&deployment.pool).await?;
                Ok((later > refused_at + 1.0).then_some(()))
            })
            .await?;
            deployment.start_worker(&[]).await?;
            Ok(())
        })
        .await?;
    assert_eq!(broken, BTreeSet::from([Invariant::RefusalsAreTrue]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_detects_an_api_that_refuses_a_retry_because_of_its_own_sale() -> Result<()> {
    let variables = vec![("HAMRO_FAULTS", "api.ignore-sale-keys=break")];
    let broken = start(1, variables)
        .await?
        .breaks(async |_, clients| {
            let intent = clients.intent_for_free_seat();
            clients.book_and_follow(&intent, ClientBehaviour::Poll).await?;
            refused_early(clients, intent.seats[0]).await?;
            clients.try_once(&intent).await;
            Ok(())
        })
        .await?;
    assert!(broken.contains(&Invariant::RefusalsAreTrue), "{broken:?}");
    Ok(())
}
