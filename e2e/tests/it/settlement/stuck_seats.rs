//! A database session, such as a backup or an operator's console, that holds the lock on one seat for a long time.

use anyhow::{Result, ensure};
use hamro_e2e::dead_letter_setup::parcel;
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Client, Deployment, Setup, tables, wait_until};
use nix::sys::signal::Signal;
use sqlx::{Postgres, Transaction};

/// The worker is started by [`start_worker`].
fn without_workers(variables: Vec<(&'static str, &'static str)>) -> Setup {
    Setup { workers: 0, variables, ..Setup::default() }
}

/// Starts a worker and returns a client of its health endpoints.
async fn start_worker(deployment: &mut Deployment) -> Result<Client> {
    let variables =
        [("WORKER_HTTP_PORT", "0"), ("REAPER_DELAY", "0s"), ("RUST_LOG", "info,hamro_worker=debug")];
    let worker = deployment.start_worker(&variables).await?;
    let url = deployment.workers[worker].line_after("serving health checks on ").await?;
    Ok(Client::new(&url))
}

async fn is_ready(health: &Client, expected: u16, text: &str) -> Result<()> {
    wait_until(&format!("readiness is {expected} and contains {text:?}"), async || {
        let ready = health.get("/health/ready").await?;
        Ok((ready.status == expected && ready.body.to_string().contains(text)).then_some(()))
    })
    .await
}

async fn book(deployment: &Deployment, customer: &str, seat: i64) -> Result<String> {
    Ok(deployment.client().create_booking(customer, &[seat]).await?.location()?.to_owned())
}

async fn ends_as(deployment: &Deployment, location: &str, status: &str) -> Result<()> {
    let found = deployment.client().final_status(location).await?;
    ensure!(found["status"] == status, "{found}");
    Ok(())
}

/// Locks a seat, books it, and waits until the worker has deferred the booking.
async fn held_seat(
    deployment: &mut Deployment,
) -> Result<(Transaction<'static, Postgres>, String, Vec<i64>)> {
    let seats = deployment.client().seat_ids(0).await?;
    let holder = deployment.hold_seat(seats[0]).await?;
    let wanted = book(deployment, "alice", seats[0]).await?;
    deployment.workers[0].line_after("bookings deferred").await?;
    Ok((holder, wanted, seats))
}

#[tokio::test]
async fn a_locked_seat_delays_no_other_sale_and_is_sold_once_unlocked() -> Result<()> {
    Deployment::run(without_workers(Vec::new()), async |deployment| {
        let health = start_worker(deployment).await?;
        let (holder, wanted, seats) = held_seat(deployment).await?;
        is_ready(&health, 503, "seats: another database session").await?;
        for seat in &seats[1..20] {
            let free = book(deployment, "bob", *seat).await?;
            ends_as(deployment, &free, "confirmed").await?;
        }
        let found = deployment.client().get(&wanted).await?;
        assert_eq!(found.body["status"], "queued", "a lock must not reject a booking");
        holder.rollback().await?;
        ends_as(deployment, &wanted, "confirmed").await?;
        is_ready(&health, 200, "ok").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_expires_a_booking_of_a_locked_seat_at_its_deadline() -> Result<()> {
    let variables = vec![("BOOKING_DEADLINE", "8s"), ("BOOKING_WAIT", "1s")];
    Deployment::run(without_workers(variables), async |deployment| {
        start_worker(deployment).await?;
        let (holder, _, _) = held_seat(deployment).await?;
        // No client reads its status, because that would expire the ticket too.
        wait_until("the worker expires it while the seat is locked", async || {
            let ended: Option<String> =
                sqlx::query_scalar("SELECT status FROM bookings").fetch_optional(&deployment.pool).await?;
            Ok(ended.map(|ended| assert_eq!(ended, "expired")))
        })
        .await?;
        holder.rollback().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_killed_or_stopped_while_a_booking_is_deferred_loses_nothing() -> Result<()> {
    Deployment::run(without_workers(Vec::new()), async |deployment| {
        start_worker(deployment).await?;
        // A duplicate left by a killed worker may be deferred again just before the seat is unlocked.
        deployment.expects_leftovers = true;
        let (holder, wanted, seats) = held_seat(deployment).await?;
        for seat in &seats[1..4] {
            // At some moment between republishing and acknowledging.
            deployment.kill_worker(0).await?;
            deployment.start_worker(&[("RUST_LOG", "info,hamro_worker=debug")]).await?;
            let free = book(deployment, "bob", *seat).await?;
            ends_as(deployment, &free, "confirmed").await?;
            deployment.workers[0].line_after("bookings deferred").await?;
        }
        deployment.stop_worker(0).await?;
        holder.rollback().await?;
        deployment.start_worker(&[]).await?;
        ends_as(deployment, &wanted, "confirmed").await?;
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 4);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_that_dies_between_republishing_and_acknowledging_sells_once() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        deployment.expects_leftovers = true;
        let seats = deployment.client().seat_ids(0).await?;
        let holder = deployment.hold_seat(seats[0]).await?;
        deployment.start_worker(&[("HAMRO_FAULTS", "worker.after-requeue=kill@1")]).await?;
        let wanted = book(deployment, "alice", seats[0]).await?;
        let mut dead = deployment.workers.remove(0);
        ensure!(!dead.ended().await?.success(), "{}", dead.printed());
        wait_until("both copies are in the queue", async || {
            Ok((deployment.waiting_messages().await? == 2).then_some(()))
        })
        .await?;
        deployment.start_worker(&[]).await?;
        holder.rollback().await?;
        ends_as(deployment, &wanted, "confirmed").await?;
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

/// With one worker and a full queue, the worker must not wait for room that only it can make.
#[tokio::test]
async fn a_deferred_booking_survives_a_full_queue_and_blocks_no_other() -> Result<()> {
    Deployment::run(without_workers(vec![("PREFETCH", "1")]), async |deployment| {
        start_worker(deployment).await?;
        let (holder, wanted, _) = held_seat(deployment).await?;
        deployment.limit_queue(1).await?;
        let mut locations = Vec::new();
        wait_until("the queue has no room for the deferred booking", async || {
            // Until the worker acknowledges the parcel it receives nothing else, so the queue fills.
            let booking = envelope("bob", &[i64::from(i32::MAX)])?;
            if deployment.publish(&parcel([&booking])).await.is_ok() {
                locations.push(format!("/ticket-bookings/{}", booking.ticket.id));
            }
            let printed = deployment.workers[0].printed();
            Ok(printed.contains("is full; publishing a booking to").then_some(()))
        })
        .await?;
        for location in &locations {
            ends_as(deployment, location, "rejected").await?;
        }
        deployment.unlimit_queue().await?;
        holder.rollback().await?;
        ends_as(deployment, &wanted, "confirmed").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_with_a_stuck_batch_reports_not_ready() -> Result<()> {
    Deployment::run(without_workers(Vec::new()), async |deployment| {
        let health = start_worker(deployment).await?;
        let seats = deployment.client().seat_ids(0).await?;
        let mut holder = deployment.pool.begin().await?;
        sqlx::raw_sql("LOCK TABLE bookings IN EXCLUSIVE MODE").execute(&mut *holder).await?;
        let wanted = book(deployment, "alice", seats[0]).await?;
        is_ready(&health, 503, "settlement: a batch has been running for more than 10 s").await?;
        let mut stopped = deployment.workers.remove(0);
        stopped.signal(Signal::SIGTERM)?;
        ensure!(stopped.ended().await?.success(), "{}", stopped.printed());
        holder.rollback().await?;
        deployment.start_worker(&[]).await?;
        ends_as(deployment, &wanted, "confirmed").await?;
        Ok(())
    })
    .await
}
