//! Messages that cannot be read or settled, duplicate messages, and a deleted queue.

use anyhow::Result;
use futures_util::future::{try_join, try_join_all};
use hamro_e2e::simulated_clients::ClientBehaviour;
use hamro_e2e::{FaultTest, Setup};
use hamro_shared::queue::Parcel;
use hamro_verification::contract::email;
use nix::sys::signal::Signal;
use rand::seq::SliceRandom;
use sqlx::AssertSqlSafe;

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_booking_in_a_batch_fails_alone_and_is_stored() -> Result<()> {
    let mut test = FaultTest::start(Setup { workers: 2, ..Setup::default() }).await?;
    test.expectations.dead_letters = 3;
    let (refused, poison, good) = {
        let clients = &test.clients;
        (clients.intent_for_free_seat(), clients.intent_for_first_seat(), clients.intent_for_first_seat())
    };
    // The database rejects the bookings of this buyer.
    let address = email(&test.clients.recorded.run, refused.buyer);
    sqlx::raw_sql(AssertSqlSafe(format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '22021'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON bookings FOR EACH ROW
         WHEN (NEW.user_email = '{address}') EXECUTE FUNCTION refuse();"
    )))
    .execute(&test.deployment.pool)
    .await?;
    test.passes(async |deployment, clients| {
        deployment.publish(b"\xff\x00 no parcel").await?;
        let (poison, good) = (clients.publishable(poison)?, clients.publishable(good)?);
        let mut parcel = Parcel::default();
        parcel.push(String::from_utf8(poison.encode())?.replace("\"book\"", "\"poison\"").as_bytes());
        parcel.push(&good.encode());
        deployment.publish(&parcel.encode()).await?;
        clients.run_intent(&refused, ClientBehaviour::Poll).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_messages_and_requests_have_one_effect_each() -> Result<()> {
    let test = FaultTest::start(Setup { workers: 1, ..Setup::default() }).await?;
    let tap = test.deployment.tap().await?;
    test.passes(async |deployment, clients| {
        for _ in 0..3 {
            deployment.start_worker(&[]).await?;
        }
        let mut intents = vec![clients.intent_for_free_seat()];
        let seat = intents[0].seats[0];
        intents.extend((0..4).map(|_| clients.intent_for(seat)));
        let attempts = intents.iter().flat_map(|intent| std::iter::repeat_n(intent, 100));
        let booking = try_join_all(attempts.map(|intent| clients.run_intent(intent, ClientBehaviour::Poll)));
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
    FaultTest::start(Setup { workers: 2, variables, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            // Only once: docs/RUNBOOK.md explains how RabbitMQ 3.10 handles repeated deletions within seconds.
            deployment.delete_queue().await?;
            clients.wait_for_ended(20).await?;
            deployment.is_consumed_by(2).await
        })
        .await
}
