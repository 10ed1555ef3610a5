//! What happens when the queue is full.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hamro_e2e::client::Answer;
use hamro_e2e::{Installation, Setup};
use hamro_shared::queue::{Envelope, Parcel};

/// The tickets of everything that is in the queue.
async fn queued_tickets(installation: &Installation) -> Result<BTreeSet<String>> {
    let mut tickets = BTreeSet::new();
    for body in installation.take_messages().await? {
        for envelope in Parcel::decode(&body)? {
            tickets.insert(Envelope::decode(envelope)?.ticket.id.to_string());
        }
    }
    Ok(tickets)
}

#[tokio::test]
async fn a_booking_that_the_full_queue_refuses_is_never_answered_202() -> Result<()> {
    let installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    installation.limit_queue(5).await?;
    let client = installation.client();
    let mut answers: Vec<Answer> = Vec::new();
    // Waves of 256 publishers at once, until the queue has refused some.
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
    assert_eq!(queued_tickets(&installation).await?, accepted);
    installation.unlimit_queue().await?;
    installation.close().await
}
