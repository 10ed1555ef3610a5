//! A standby that is promoted, with and without the old primary around.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hamro_e2e::replicated_postgres::ReplicatedPostgres;
use hamro_e2e::replicated_postgres::Server::{New, Old};
use hamro_e2e::simulated_clients::{ClientBehaviour, SimulatedClients};
use hamro_e2e::{Deployment, FaultTest, Setup};
use hamro_verification::invariant::Invariant;

use crate::faults::servers::books_meanwhile;

async fn test(postgres: &ReplicatedPostgres) -> Result<FaultTest> {
    let variables = vec![("DATABASE_URL", postgres.url()?)];
    FaultTest::start(Setup { apis: 2, workers: 2, variables, ..Setup::default() }).await
}

/// Instances may reject these bookings early, and the proof checks that they do so only while the seat is sold.
async fn want_a_sold_seat(clients: &SimulatedClients) {
    for _ in 0..30 {
        clients.try_once(&clients.intent_for_first_seat()).await;
    }
}

/// Promotes the standby, and measures how long a new booking then takes to be settled.
#[expect(clippy::print_stderr, reason = "docs/RELIABILITY.md quotes the figures")]
async fn promote(
    postgres: &ReplicatedPostgres,
    deployment: &mut Deployment,
    clients: &SimulatedClients,
) -> Result<()> {
    want_a_sold_seat(clients).await;
    let started = Instant::now();
    postgres.promote().await?;
    let (promoted, back) = (started.elapsed(), Instant::now());
    deployment.use_server(postgres.url_of(New))?;
    let intent = clients.intent_for_free_seat();
    clients.book_and_follow(&intent, ClientBehaviour::Poll).await?;
    let settled = back.elapsed();
    want_a_sold_seat(clients).await;
    eprintln!("the promotion took {promoted:.1?}; a new booking was settled {settled:.1?} after it");
    ensure!(settled.as_secs() < 10, "service came back only {settled:?} after the promotion");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_whose_standby_is_promoted_loses_nothing() -> Result<()> {
    let postgres = ReplicatedPostgres::start("failover-kill")?;
    postgres.replicate_synchronously().await?;
    test(&postgres)
        .await?
        .passes(async |deployment, clients| {
            postgres.control("kill", Old)?;
            books_meanwhile(clients).await?;
            promote(&postgres, deployment, clients).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_switchover_loses_nothing() -> Result<()> {
    let postgres = ReplicatedPostgres::start("failover-switch")?;
    test(&postgres)
        .await?
        .passes(async |deployment, clients| {
            // An orderly shutdown waits until the standby has everything.
            postgres.control("stop", Old)?;
            books_meanwhile(clients).await?;
            promote(&postgres, deployment, clients).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_primary_that_returns_writable_is_not_used() -> Result<()> {
    let postgres = ReplicatedPostgres::start("failover-return")?;
    postgres.replicate_synchronously().await?;
    test(&postgres)
        .await?
        .passes(async |deployment, clients| {
            // It does not respond, and closes no connection.
            postgres.control("freeze", Old)?;
            books_meanwhile(clients).await?;
            promote(&postgres, deployment, clients).await?;
            postgres.control("thaw", Old)?;
            postgres.replicate_asynchronously().await?;
            // Processes that know the promoted server, and processes that know neither, look for one.
            for _ in 0..3 {
                postgres.terminate_sessions(New).await?;
                clients.book_and_follow(&clients.intent_for_free_seat(), ClientBehaviour::Poll).await?;
            }
            deployment.start_worker(&[]).await?;
            deployment.start_api(&[]).await?;
            clients.book_and_follow(&clients.intent_for_free_seat(), ClientBehaviour::Poll).await?;
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_standby_loses_only_what_it_had_not_received() -> Result<()> {
    let postgres = ReplicatedPostgres::start("failover-async")?;
    // Tickets whose outcome is lost expire at their deadline.
    let variables = vec![("DATABASE_URL", postgres.url()?), ("BOOKING_DEADLINE", "15s")];
    let setup = Setup { apis: 2, workers: 2, variables, ..Setup::default() };
    let broken = FaultTest::start_with_retry_timeout(setup, Duration::from_secs(20))
        .await?
        .breaks(async |deployment, clients| {
            postgres.control("stop", New)?;
            clients.wait_for_ended(100).await?;
            postgres.control("kill", Old)?;
            postgres.control("start", New)?;
            promote(&postgres, deployment, clients).await
        })
        .await?;
    let lost =
        broken.contains(&Invariant::DatabaseAgrees) || broken.contains(&Invariant::FinalStatusNeverChanges);
    ensure!(lost, "nothing was lost: {broken:?}");
    let intact = [
        Invariant::DatabaseIsConsistent,
        Invariant::QueuesAreEmpty,
        Invariant::NoDeadlock,
        Invariant::Recovers,
    ];
    ensure!(intact.iter().all(|rule| !broken.contains(rule)), "more than outcomes was lost: {broken:?}");
    Ok(())
}
