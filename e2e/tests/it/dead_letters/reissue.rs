//! Reissuing dead letters.

use anyhow::{Context, Result};
use hamro_e2e::client::booking;
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Client, Deployment, tables};
use hamro_shared::domain::IdempotencyKey;
use serde_json::Value;

use super::{NO_BROKER, dead_letter, json, run, stderr_of, stdout_of, with_dead_letters};

/// Reissues the dead letter, and returns its new ticket.
async fn reissue(deployment: &Deployment, id: &str) -> Result<String> {
    let answer = json(deployment, &["reissue", id]).await?;
    Ok(answer["ticketId"].as_str().context("no ticketId")?.to_owned())
}

async fn final_status(deployment: &Deployment, ticket: impl ToString) -> Result<Value> {
    deployment.client().final_status(&format!("/ticket-bookings/{}", ticket.to_string())).await
}

#[tokio::test]
async fn a_reissued_dead_letter_is_booked_once_under_a_new_ticket() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let alice = envelope("alice", &seats[..2])?;
        let id = dead_letter(deployment, &alice).await?;
        let failed = final_status(deployment, alice.ticket.id).await?;
        assert_eq!(failed["status"], "failed");

        let ticket = reissue(deployment, &id).await?;
        assert_ne!(ticket, alice.ticket.id.to_string());
        assert_eq!(final_status(deployment, &ticket).await?["status"], "confirmed");
        let error = stderr_of(deployment, &["reissue", &id], &[]).await?;
        assert!(error.contains(&format!("was already reissued: ticket {ticket} is confirmed")), "{error}");
        let error = stderr_of(deployment, &["discard", &id, "--because", "late"], &[]).await?;
        assert!(error.contains("was already reissued"), "{error}");

        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        assert_eq!(final_status(deployment, alice.ticket.id).await?, failed);
        let list = stdout_of(deployment, &["list", "--all"]).await?;
        assert!(list.contains(&format!("reissued as {ticket}")), "{list}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_interrupted_reissue_resumes_with_the_same_ticket() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let alice = envelope("alice", &seats[..1])?;
        let id = dead_letter(deployment, &alice).await?;

        // Interrupted before the booking is in the queue.
        let error = stderr_of(deployment, &["reissue", &id], &[NO_BROKER]).await?;
        let (_, ticket) = error.split_once("the same ticket ").context("no ticket")?;
        let ticket = ticket.split(':').next().context("no ticket")?;
        let list = stdout_of(deployment, &["list"]).await?;
        assert!(list.contains(&format!("open, being reissued as {ticket}")), "{list}");
        let error = stderr_of(deployment, &["discard", &id, "--because", "no"], &[]).await?;
        assert!(error.contains("again to finish"), "{error}");
        assert_eq!(reissue(deployment, &id).await?, ticket);

        // Interrupted after that, before it is marked as reissued. The worker may or may not have settled it.
        let reset = "UPDATE dead_letters SET resolution = NULL, resolved_at = NULL";
        sqlx::raw_sql(reset).execute(&deployment.pool).await?;
        assert_eq!(reissue(deployment, &id).await?, ticket);
        assert_eq!(final_status(deployment, ticket).await?["status"], "confirmed");
        sqlx::raw_sql(reset).execute(&deployment.pool).await?;
        assert_eq!(reissue(deployment, &id).await?, ticket);
        deployment.drained().await?;
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_dead_letter_can_be_reissued_again_after_its_new_ticket_expired() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let alice = envelope("alice", &seats[..1])?;
        let id = dead_letter(deployment, &alice).await?;
        let short_deadline = ("BOOKING_DEADLINE", "1ms");
        let mut tickets = Vec::new();
        for _ in 0..2 {
            let error = stderr_of(deployment, &["reissue", &id], &[NO_BROKER, short_deadline]).await?;
            let (_, ticket) = error.split_once("the same ticket ").context("no ticket")?;
            tickets.push(ticket.split(':').next().context("no ticket")?.to_owned());
        }
        let output = run(deployment, &["reissue", &id, "--json"], &[short_deadline]).await?;
        let answer: Value = serde_json::from_slice(&output.stdout)?;
        tickets.push(answer["ticketId"].as_str().context("no ticketId")?.to_owned());
        // Each ticket was fenced before the next one was issued.
        for ticket in &tickets {
            assert_eq!(final_status(deployment, ticket).await?["status"], "expired");
        }
        tickets.push(reissue(deployment, &id).await?);
        assert_eq!(final_status(deployment, &tickets[3]).await?["status"], "confirmed");
        tickets.dedup();
        assert_eq!(tickets.len(), 4);
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_reissued_dead_letter_is_rejected_if_its_seats_are_taken() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let alice = envelope("alice", &seats[..1])?;
        let id = dead_letter(deployment, &alice).await?;
        assert_eq!(client.book_seats("bob", &seats[..1]).await?.status, 201);

        let ticket = reissue(deployment, &id).await?;
        let rejected = final_status(deployment, ticket).await?;
        assert_eq!(
            (&rejected["status"], &rejected["problem"]["code"]),
            (&"rejected".into(), &"seats-taken".into())
        );
        assert_eq!(final_status(deployment, alice.ticket.id).await?["status"], "failed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_reissue_shares_the_outcome_of_a_retry_under_the_same_key() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let mut alice = envelope("alice", &seats[..1])?;
        alice.idempotency_key = Some(IdempotencyKey::new("k1")?);
        let id = dead_letter(deployment, &alice).await?;
        let again = client.request(hyper::Method::POST, "/ticket-bookings/seats");
        let again = again.header("Idempotency-Key", "\"k1\"").json(&booking("alice", &seats[..1]));
        let booked = Client::send(again).await?;
        assert_eq!(booked.status, 201);

        let ticket = reissue(deployment, &id).await?;
        let status = final_status(deployment, ticket).await?;
        assert_eq!((&status["status"], &status["booking"]), (&"confirmed".into(), &booked.body));
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_that_is_already_settled_is_not_reissued() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let alice = envelope("alice", &seats[..1])?;
        deployment.publish(&hamro_e2e::dead_letter_setup::parcel([&alice])).await?;
        deployment.start_worker(&[]).await?;
        assert_eq!(final_status(deployment, alice.ticket.id).await?["status"], "confirmed");
        let mut worker = deployment.workers.pop().context("no worker")?;
        worker.signal(nix::sys::signal::Signal::SIGTERM)?;
        assert!(worker.ended().await?.success(), "{}", worker.printed());

        let id = dead_letter(deployment, &alice).await?;
        assert_eq!(final_status(deployment, alice.ticket.id).await?["status"], "confirmed");
        let error = stderr_of(deployment, &["reissue", &id], &[]).await?;
        assert!(error.contains("there is nothing to reissue: this booking is confirmed"), "{error}");
        Ok(())
    })
    .await
}
