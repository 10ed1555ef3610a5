//! Parcels that killed workers, or were redelivered too often.

use anyhow::{Context, Result, ensure};
use hamro_e2e::dead_letter_setup::parcel;
use hamro_e2e::deployment::envelope;
use hamro_e2e::process::Process;
use hamro_e2e::{Client, Deployment, tables, wait_until};
use hamro_shared::queue::{Envelope, Parcel, RawSettledEvent};
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use nix::sys::signal::Signal;
use sqlx::AssertSqlSafe;

use super::{envelopes, without_workers};

fn location(envelope: &Envelope) -> String {
    format!("/ticket-bookings/{}", envelope.ticket.id)
}

async fn ends_as(deployment: &Deployment, envelope: &Envelope, status: &str) -> Result<()> {
    let found = deployment.client().final_status(&location(envelope)).await?;
    ensure!(found["status"] == status, "{found}");
    Ok(())
}

/// Waits until this worker waits for the lock on a seat.
async fn waits_for_seat(deployment: &Deployment, worker: &Process) -> Result<()> {
    let query = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
         AND datname = current_database() AND application_name = 'hamro-worker-{}')",
        worker.id()?
    );
    wait_until("the worker waits for the seat", async || {
        let waits: bool =
            sqlx::query_scalar(AssertSqlSafe(query.clone())).fetch_one(&deployment.pool).await?;
        Ok(waits.then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_parcel_beyond_its_delivery_limit_is_still_settled() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let bookings = envelopes(&seats[..3])?;
        deployment.publish(&parcel(&bookings)).await?;
        let (intake, dead) = (deployment.topology.intake_queue(), deployment.topology.dead_queue());
        deployment.requeue_unacked(&intake, 21).await?;
        wait_until("the broker has moved the parcel to bookings.dead", async || {
            Ok((deployment.messages_in(&dead).await? == 1).then_some(()))
        })
        .await?;

        let announced = deployment.topology.subscribe_to_settled(&deployment.channel).await?;
        deployment.start_worker(&[]).await?;
        for booking in &bookings {
            ends_as(deployment, booking, "confirmed").await?;
            let message = wait_until("its outcome is announced", async || {
                let options = BasicGetOptions { no_ack: true };
                Ok(deployment.channel.basic_get(announced.as_str().into(), options).await?)
            })
            .await?;
            let settled = RawSettledEvent::decode(&message.delivery.data)?;
            assert_eq!(settled.tickets[0].ticket_id, booking.ticket.id);
        }
        assert_eq!(tables::count(&deployment.pool, "dead_letters").await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_the_poison_booking_of_a_parcel_fails() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let bookings = envelopes(&seats[..3])?;
        // A worker that tries the second booking blocks at the seat that this transaction has locked, and is killed there.
        let holder = deployment.hold_seat(seats[1]).await?;
        deployment.publish_dead(&parcel(&bookings)).await?;
        for _ in 0..3 {
            deployment.start_worker(&[]).await?;
            let mut worker = deployment.workers.pop().context("no worker")?;
            waits_for_seat(deployment, &worker).await?;
            worker.signal(Signal::SIGKILL)?;
            worker.ended().await?;
        }

        deployment.start_worker(&[]).await?;
        ends_as(deployment, &bookings[1], "failed").await?;
        holder.rollback().await?;
        ends_as(deployment, &bookings[0], "confirmed").await?;
        ends_as(deployment, &bookings[2], "confirmed").await?;
        let kept: Vec<(uuid::Uuid, String, Vec<u8>)> =
            sqlx::query_as("SELECT ticket_id, reason, payload FROM dead_letters")
                .fetch_all(&deployment.pool)
                .await?;
        let expected = (bookings[1].ticket.id.0, "workers-died".to_owned(), bookings[1].clone().encode());
        assert_eq!(kept, [expected]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_interrupted_split_of_a_parcel_loses_no_booking() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let bookings = envelopes(&seats[..8])?;
        deployment.publish_dead(&parcel(&bookings)).await?;
        // The queue has room for only some of the bookings.
        deployment.limit_dead_queue(Some(2)).await?;
        deployment.start_worker(&[]).await?;
        let mut worker = deployment.workers.pop().context("no worker")?;
        worker.line_after("splitting a parcel: the broker refused").await?;
        worker.signal(Signal::SIGKILL)?;
        worker.ended().await?;
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 0);

        deployment.limit_dead_queue(None).await?;
        deployment.start_worker(&[]).await?;
        for booking in &bookings {
            ends_as(deployment, booking, "confirmed").await?;
        }
        let dead = deployment.topology.dead_queue();
        wait_until("the copies are gone", async || {
            Ok((deployment.messages_in(&dead).await? == 0).then_some(()))
        })
        .await?;
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 8);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_isolated_booking_is_settled_once_if_a_worker_dies_after_its_commit() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let bookings = envelopes(&seats[..2])?;
        deployment.publish_dead(&parcel(&bookings)).await?;
        deployment.run_doomed_worker(&[("HAMRO_FAULTS", "worker.after-commit=kill@1")]).await?;
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);

        deployment.start_worker(&[]).await?;
        for booking in &bookings {
            ends_as(deployment, booking, "confirmed").await?;
        }
        let dead = deployment.topology.dead_queue();
        wait_until("the redelivered booking is acknowledged", async || {
            Ok((deployment.messages_in(&dead).await? == 0).then_some(()))
        })
        .await?;
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 2);
        assert_eq!(tables::count(&deployment.pool, "dead_letters").await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn concurrent_poison_isolators_settle_each_booking_once() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let bookings = envelopes(&seats[..24])?;
        for _ in 0..2 {
            for some in bookings.chunks(6) {
                deployment.publish_dead(&parcel(some)).await?;
            }
        }
        for _ in 0..3 {
            deployment.start_worker(&[]).await?;
        }
        for booking in &bookings {
            ends_as(deployment, booking, "confirmed").await?;
        }
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 24);
        assert_eq!(tables::count(&deployment.pool, "dead_letters").await?, 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn unreadable_messages_in_the_dead_queue_become_dead_letters() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let good = envelope("alice", &seats[..1])?;
        let bad = envelope("bob", &seats[1..2])?;
        let together = String::from_utf8(parcel([&bad, &good]))?.replace("bob@example.com", "nobody");
        deployment.publish_dead(b"no parcel").await?;
        deployment.publish_dead(b"[]").await?;
        deployment.publish_dead(together.as_bytes()).await?;

        deployment.start_worker(&[]).await?;
        ends_as(deployment, &good, "confirmed").await?;
        ends_as(deployment, &bad, "failed").await?;
        let reasons: Vec<String> = sqlx::query_scalar("SELECT reason FROM dead_letters ORDER BY reason")
            .fetch_all(&deployment.pool)
            .await?;
        assert_eq!(reasons, ["unreadable-envelope", "unreadable-parcel"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_message_for_a_newer_worker_stays_queued_without_counting_redeliveries() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let (old, new) = (envelope("alice", &seats[..1])?, envelope("bob", &seats[1..2])?);
        let mut both = Parcel::default();
        both.push(&old.clone().encode());
        both.push(String::from_utf8(new.encode())?.replace("\"v\":1", "\"v\":9").as_bytes());
        deployment.publish_dead(&both.encode()).await?;
        let dead = deployment.topology.dead_queue();
        // One redelivery more than a readable booking is allowed.
        for _ in 0..4 {
            let number = deployment.start_worker(&[("WORKER_HTTP_PORT", "0")]).await?;
            let worker = &mut deployment.workers[number];
            let health = Client::new(&worker.line_after("serving health checks on ").await?);
            worker.line_after("poison isolation stopped").await?;
            // Batches that the consumer settles do not make this worker ready again.
            deployment.drained().await?;
            let ready = health.get("/health/ready").await?;
            assert_eq!(ready.status, 503);
            assert!(
                ready.body["status"].as_str().is_some_and(|status| status
                    .contains("poison-isolator: a message in bookings.dead needs a newer worker")),
                "{ready:?}"
            );
            let mut worker = deployment.workers.pop().context("no worker")?;
            worker.signal(Signal::SIGTERM)?;
            assert!(worker.ended().await?.success(), "{}", worker.printed());
        }
        ends_as(deployment, &old, "confirmed").await?;
        assert_eq!(deployment.messages_in(&dead).await?, 1);
        let left = deployment.get(&dead).await?.delivery;
        let returns = left.properties.headers().as_ref().and_then(|all| all.inner().get("x-delivery-count"));
        assert_eq!(returns.and_then(AMQPValue::as_long_long_int).unwrap_or_default(), 0);
        assert!(String::from_utf8(left.data)?.contains("\"v\":9"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn while_the_database_is_away_the_poison_isolator_receives_nothing() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let booking = envelope("alice", &seats[..1])?;
        deployment.publish_dead(&parcel([&booking])).await?;
        let away = deployment.environment(&[("DATABASE_URL", "postgres://hamro@127.0.0.1:1/hamro")]);
        let mut cut_off = Process::start("cut off", "hamro-worker", &[], &away)?;
        cut_off.line_after("for isolating poison messages").await?;
        wait_until("the consumer and the poison isolator wait for the database", async || {
            Ok((cut_off.printed().matches("waiting for the schema").count() >= 4).then_some(()))
        })
        .await?;
        assert_eq!(deployment.messages_in(&deployment.topology.dead_queue()).await?, 1);
        cut_off.signal(Signal::SIGTERM)?;
        assert!(cut_off.ended().await?.success(), "{}", cut_off.printed());
        deployment.start_worker(&[]).await?;
        ends_as(deployment, &booking, "confirmed").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_poison_isolator_receives_nothing_during_its_start_delay() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let booking = envelope("alice", &seats[..1])?;
        deployment.publish_dead(&parcel([&booking])).await?;
        deployment.start_worker(&[("REAPER_DELAY", "1h")]).await?;
        deployment.drained().await?;
        assert_eq!(deployment.messages_in(&deployment.topology.dead_queue()).await?, 1);
        deployment.start_worker(&[]).await?;
        ends_as(deployment, &booking, "confirmed").await?;
        Ok(())
    })
    .await
}
