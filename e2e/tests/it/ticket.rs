//! `hamro-api ticket show`: what became of a ticket, in every state.

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::booking;
use hamro_e2e::deployment::envelope;
use hamro_e2e::process::Process;
use hamro_e2e::{Client, Deployment, Setup};
use hamro_shared::queue::Parcel;
use hyper::Method;
use serde_json::{Value, json};

/// The exit status if nothing is stored.
const NOTHING_STORED: Option<i32> = Some(3);

async fn run(
    deployment: &Deployment,
    arguments: &[&str],
    changes: &[(&str, &str)],
) -> Result<(Option<i32>, String, String)> {
    let arguments = [&["ticket", "show"], arguments].concat();
    let output = Process::output("hamro-api", &arguments, &deployment.environment(changes)).await?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

/// The document about a ticket of which something is stored.
async fn show(deployment: &Deployment, ticket: &str) -> Result<Value> {
    let (code, printed, error) = run(deployment, &[ticket, "--json"], &[]).await?;
    ensure!(code == Some(0), "{code:?}: {printed}{error}");
    Ok(serde_json::from_str(&printed)?)
}

async fn text(deployment: &Deployment, ticket: &str) -> Result<String> {
    Ok(run(deployment, &[ticket], &[]).await?.1)
}

async fn book(client: &Client, key: Option<&str>, seats: &[i64]) -> Result<String> {
    let request = client.request(Method::POST, "/ticket-bookings");
    let request = match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    };
    let accepted = Client::send(request.json(&booking("alice", seats))).await?;
    client.final_status(accepted.location()?).await?;
    Ok(accepted.body["ticketId"].as_str().context("no ticket")?.to_owned())
}

#[tokio::test]
async fn a_confirmed_booking_is_shown_with_its_seats_retries_and_releases_and_without_the_customer()
-> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let ticket = book(&client, Some("key-1"), &seats[..2]).await?;
        let retry = book(&client, Some("key-1"), &seats[..2]).await?;
        let release = json!({"reason": "Refund 4711", "seatIds": [seats[1]]});
        let path = format!("/ticket-bookings/{ticket}/release");
        ensure!(client.write(Method::POST, &path, &release).await?.status == 200);

        let shown = show(deployment, &ticket).await?;
        assert_eq!((&shown["state"], &shown["isGenuine"]), (&json!("confirmed"), &json!(true)));
        assert_eq!(shown["sharedBy"], json!([retry]));
        assert_eq!(shown["sale"]["seats"][0]["seatId"], seats[0]);
        assert!(shown["sale"]["seats"][1]["releasedAt"].is_string(), "{shown}");
        assert_eq!(shown["sale"]["releases"][0]["reason"], "Refund 4711");
        assert_eq!(shown["sale"]["releases"][0]["releasedBy"], "admin");
        let log_id = Process::output("hamro-api", &["log-id", &ticket], &deployment.environment(&[])).await?;
        assert_eq!(shown["logId"], String::from_utf8(log_id.stdout)?.trim());
        assert_eq!(show(deployment, &retry).await?["sharesOutcomeOf"], ticket);

        let printed = text(deployment, &ticket).await?;
        assert!(printed.contains("confirmed at ") && printed.contains("Refund 4711"), "{printed}");
        assert!(!printed.contains("alice") && !shown.to_string().contains("alice"), "{printed}");
        let (_, printed, _) = run(deployment, &[&ticket, "--person"], &[]).await?;
        assert!(printed.contains("alice <alice@example.com>"), "{printed}");
        let (_, printed, _) = run(deployment, &[&ticket, "--person", "--json"], &[]).await?;
        assert!(printed.contains(r#""userEmail": "alice@example.com""#), "{printed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_ticket_without_a_sale_is_shown_with_the_reason() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        book(&client, None, &seats[..1]).await?;
        let rejected = book(&client, None, &seats[..1]).await?;
        let shown = show(deployment, &rejected).await?;
        assert_eq!((&shown["state"], &shown["code"]), (&json!("rejected"), &json!("seats-taken")));
        let printed = text(deployment, &rejected).await?;
        assert!(printed.contains(&format!(": seats-taken (seats {})", seats[0])), "{printed}");

        let mut late = envelope("alice", &seats[1..2])?;
        late.ticket.deadline = late.ticket.id.issued_at();
        let mut parcel = Parcel::default();
        parcel.push(&late.clone().encode());
        deployment.publish(&parcel.encode()).await?;
        deployment.drained().await?;
        let shown = show(deployment, &late.ticket.id.to_string()).await?;
        assert_eq!((&shown["state"], &shown["sale"]), (&json!("expired"), &Value::Null));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_failed_ticket_is_shown_with_its_dead_letter_and_what_became_of_its_booking() -> Result<()> {
    let setup = Setup { expects_errors: true, variables: vec![("REAPER_DELAY", "0s")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let alice = envelope("alice", &seats[..1])?;
        deployment.stop_workers().await?;
        deployment.exhaust_retries(&alice).await?;
        deployment.start_worker(&[]).await?;
        let ticket = alice.ticket.id.to_string();
        deployment.client().final_status(&format!("/ticket-bookings/{ticket}")).await?;

        let shown = show(deployment, &ticket).await?;
        let letter = &shown["deadLetters"][0];
        assert_eq!((&shown["state"], &letter["reason"]), (&json!("failed"), &json!("workers-died")));
        assert_eq!((&letter["resolution"], &letter["reissuedAs"]), (&Value::Null, &Value::Null));
        let id = letter["id"].to_string();
        let arguments = ["dead-letters", "reissue", &id, "--json"];
        let output = Process::output("hamro-worker", &arguments, &deployment.environment(&[])).await?;
        let reissued: Value = serde_json::from_slice(&output.stdout)?;
        let again = reissued["ticketId"].as_str().context("no ticket")?;
        deployment.client().final_status(&format!("/ticket-bookings/{again}")).await?;

        let letter = show(deployment, &ticket).await?["deadLetters"][0].take();
        assert_eq!((&letter["resolution"], &letter["reissuedAs"]), (&json!("reissued"), &json!(again)));
        assert_eq!(letter["reissuedStatus"], "confirmed");
        let shown = show(deployment, again).await?;
        assert_eq!(shown["reissueOf"], json!({"deadLetterId": letter["id"], "ticketId": ticket}));
        let printed = text(deployment, &ticket).await?;
        assert!(printed.contains(&format!(" as {again} (confirmed)")), "{printed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_ticket_of_which_nothing_is_stored_is_shown_as_queued_overdue_deleted_or_unknown() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let accepted = client.create_booking("alice", &[1]).await?;
        let ticket = accepted.body["ticketId"].as_str().context("no ticket")?.to_owned();
        deployment.take_messages().await?;
        let state = async |changes: &[(&str, &str)]| {
            let (code, printed, error) = run(deployment, &[&ticket, "--json"], changes).await?;
            ensure!(code == NOTHING_STORED, "{code:?}: {printed}{error}");
            let shown: Value = serde_json::from_str(&printed)?;
            Ok((shown["state"].as_str().unwrap_or_default().to_owned(), shown["isGenuine"].clone()))
        };
        let other_key = ("TICKET_KEYS", "1010101010101010101010101010101010101010101010101010101010101010");
        assert_eq!(state(&[]).await?, ("queued".to_owned(), json!(true)));
        assert_eq!(state(&[("TICKET_KEYS", "")]).await?, ("queued".to_owned(), Value::Null));
        assert_eq!(state(&[other_key]).await?, ("unknown".to_owned(), json!(false)));
        assert_eq!(state(&[("BOOKING_DEADLINE", "1ms")]).await?, ("overdue".to_owned(), json!(true)));
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM bookings").fetch_one(&deployment.pool).await?;
        assert_eq!(count, 0, "looking at a ticket does not expire it");
        sqlx::raw_sql("INSERT INTO deleted_rejections (issued_until) VALUES (now() + interval '1 day')")
            .execute(&deployment.pool)
            .await?;
        assert_eq!(state(&[]).await?, ("deleted".to_owned(), json!(true)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_not_a_ticket_id_is_refused_with_the_form_of_one() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        for wrong in ["4711", "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11", "019ab3c57f158a3e9d425c1f0e6b7a88"] {
            let (code, _, error) = run(deployment, &[wrong], &[]).await?;
            assert_eq!(code, Some(2), "{error}");
            assert!(error.contains("not a ticket id, which looks like 019ab3c5-"), "{error}");
        }
        Ok(())
    })
    .await
}
