//! Messages that cannot be read or settled, duplicate messages, and a deleted queue.

use anyhow::Result;
use futures_util::future::{try_join, try_join_all};
use hamro_e2e::deployment::envelope;
use hamro_e2e::journal::{Way, Wish};
use hamro_e2e::{Setup, Trial};
use hamro_shared::queue::Parcel;
use nix::sys::signal::Signal;
use rand::seq::SliceRandom;

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_booking_in_a_batch_fails_alone_and_is_stored() -> Result<()> {
    let mut trial = Trial::start(Setup { workers: 2, ..Setup::default() }).await?;
    trial.terms.dead_letters = 3;
    // The database rejects the bookings of this customer.
    sqlx::raw_sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '22021'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON bookings FOR EACH ROW
         WHEN (NEW.user_name = 'faulty') EXECUTE FUNCTION refuse();",
    )
    .execute(&trial.deployment.pool)
    .await?;
    let seats = trial.crowd.first_seat();
    trial
        .passes(async |deployment, crowd| {
            deployment.publish(b"\xff\x00 no parcel").await?;
            let (poison, good) = (envelope("poison", &seats)?, envelope("good", &seats)?);
            crowd.has_published("poison", &seats, poison.ticket.id.0)?;
            crowd.has_published("good", &seats, good.ticket.id.0)?;
            let mut parcel = Parcel::default();
            parcel.push(String::from_utf8(poison.encode())?.replace("\"book\"", "\"poison\"").as_bytes());
            parcel.push(&good.encode());
            deployment.publish(&parcel.encode()).await?;
            let (customer, key) = ("faulty".to_owned(), Some("faulty".to_owned()));
            crowd.pursue(&Wish { customer, key, seats: seats.clone(), way: Way::Poll }).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_messages_and_requests_have_one_effect_each() -> Result<()> {
    let trial = Trial::start(Setup { workers: 1, ..Setup::default() }).await?;
    let tap = trial.deployment.tap().await?;
    trial
        .passes(async |deployment, crowd| {
            for _ in 0..3 {
                deployment.start_worker(&[]).await?;
            }
            let attempts: Vec<Wish> = (0..5)
                .map(|n| Wish {
                    customer: format!("repeated{n}"),
                    key: Some("the-same".to_owned()),
                    seats: crowd.first_seat(),
                    way: Way::Poll,
                })
                .flat_map(|wish| std::iter::repeat_n(wish, 100))
                .collect();
            let booking = try_join_all(attempts.iter().map(|wish| crowd.pursue(wish)));
            let republishing = async {
                let mut messages = Vec::new();
                for _ in 0..deployment.messages_in(&tap).await? {
                    messages.push(deployment.get(&tap).await?.delivery.data);
                }
                messages.extend_from_within(..);
                messages.shuffle(&mut rand::rng());
                for message in messages {
                    deployment.publish(&message).await?;
                }
                Ok(())
            };
            try_join(booking, republishing).await?;
            for _ in 0..3 {
                let mut worker = deployment.workers.remove(0);
                worker.signal(Signal::SIGTERM)?;
                assert!(worker.ended().await?.success(), "{}", worker.printed());
            }
            Ok(())
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_intake_queue_is_declared_again_and_every_ticket_ends() -> Result<()> {
    // The bookings in the queue are lost with it. Their tickets expire at their deadline.
    let variables = vec![("BOOKING_DEADLINE", "4s"), ("BOOKING_WAIT", "2s")];
    Trial::start(Setup { workers: 2, variables, ..Setup::default() })
        .await?
        .passes(async |deployment, crowd| {
            // Only once: docs/RUNBOOK.md explains how RabbitMQ 3.10 handles repeated deletions within seconds.
            deployment.delete_queue().await?;
            crowd.has_pursued(20).await?;
            deployment.is_consumed_by(2).await
        })
        .await
}
