//! Behaviour when the queue is full.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hamro_e2e::client::ApiResponse;
use hamro_e2e::{Deployment, Setup, wait_until};
use hamro_shared::queue::{Envelope, Parcel};
use serde_json::Value;

/// The tickets of all bookings in the queue.
async fn queued_tickets(deployment: &Deployment) -> Result<BTreeSet<String>> {
    let mut tickets = BTreeSet::new();
    for body in deployment.take_messages().await? {
        for envelope in Parcel::decode(&body)? {
            tickets.insert(Envelope::decode(envelope)?.ticket.id.to_string());
        }
    }
    Ok(tickets)
}

#[tokio::test]
async fn a_booking_refused_by_the_full_queue_is_never_answered_202() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        deployment.limit_queue(5).await?;
        let client = deployment.client();
        let mut answers: Vec<ApiResponse> = Vec::new();
        // Waves of 256 concurrent bookings, until the queue has refused some.
        while !answers.iter().any(|answer| answer.status == 503) {
            let customers: Vec<String> = (0..256).map(|n| format!("customer{n}")).collect();
            answers.extend(
                try_join_all(customers.iter().map(|customer| client.create_booking(customer, &[1]))).await?,
            );
        }
        let mut accepted = BTreeSet::new();
        for answer in &answers {
            if answer.status == 202 {
                accepted.insert(answer.body["ticketId"].as_str().context("no ticket")?.to_owned());
            } else {
                assert_eq!((answer.status, answer.code()), (503, "queue-full"), "{answer:?}");
                assert!(answer.header("retry-after").is_some());
            }
        }
        assert!(!accepted.is_empty());
        assert_eq!(queued_tickets(deployment).await?, accepted);
        deployment.unlimit_queue().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_queue_at_its_limit_is_reported_and_refuses_bookings() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("QUEUE_MAX", "5")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client().clone();
        for n in 0..5 {
            assert_eq!(client.create_booking(&format!("customer{n}"), &[1]).await?.status, 202);
        }
        let full = wait_until("the api reports a full queue", async || {
            let queue = client.get("/queue").await?;
            Ok((queue.body["depth"] == 5).then_some(queue))
        })
        .await?;
        assert_eq!((full.status, &full.body["accepting"]), (200, &Value::Bool(false)));
        assert_eq!(full.body["drainRate"], Value::Null, "nothing has been settled");
        assert_eq!(full.header("cache-control"), Some("public, max-age=1"));
        let refused = client.create_booking("late", &[1]).await?;
        assert_eq!((refused.status, refused.code()), (503, "queue-full"));

        deployment.start_worker(&[]).await?;
        wait_until("the queue accepts bookings again", async || {
            let queue = client.get("/queue").await?.body;
            Ok((queue["accepting"] == true && queue["depth"] == 0 && queue["drainRate"].is_number())
                .then_some(()))
        })
        .await?;
        assert_eq!(client.create_booking("late", &[1]).await?.status, 202);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn bookings_that_a_worker_holds_count_towards_the_limit_of_the_queue() -> Result<()> {
    let setup = Setup { variables: vec![("QUEUE_MAX", "5"), ("EARLY_REJECTION", "off")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        wait_until("the length of the queue is known", async || {
            Ok((client.get("/queue").await?.body["depth"] == 0).then_some(()))
        })
        .await?;
        let holder = deployment.hold_seat(seats[0]).await?;
        for n in 0..5 {
            let accepted = client.create_booking(&format!("customer{n}"), &seats[..1]).await?;
            assert_eq!(accepted.status, 202, "{accepted:?}");
        }
        wait_until("the worker holds all of them", async || {
            Ok((deployment.waiting_messages().await? == 0).then_some(()))
        })
        .await?;
        let refused = client.create_booking("late", &seats[..1]).await?;
        assert_eq!((refused.status, refused.code()), (503, "queue-full"));
        holder.rollback().await?;
        wait_until("the queue accepts bookings again", async || {
            Ok((client.create_booking("late", &seats[..1]).await?.status == 202).then_some(()))
        })
        .await
    })
    .await
}
