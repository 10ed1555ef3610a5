//! The operator's commands: `hamro-worker dead-letters`.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::booking;
use hamro_e2e::deployment::envelope;
use hamro_e2e::process::Process;
use hamro_e2e::{Client, Deployment, Setup, ledger, wait_until};
use hamro_shared::domain::IdempotencyKey;
use hamro_shared::queue::Envelope;
use serde_json::Value;

/// An address on which nothing listens.
const NO_BROKER: (&str, &str) = ("AMQP_URL", "amqp://127.0.0.1:1/%2f");

/// Without workers. A dead letter is logged as an error.
fn with_dead_letters() -> Setup {
    let variables = vec![("REAPER_DELAY", "0s")];
    Setup { workers: 0, variables, expects_errors: true, ..Setup::default() }
}

/// Turns this booking into a dead letter, and returns its number.
async fn dead_letter(deployment: &mut Deployment, envelope: &Envelope) -> Result<String> {
    deployment.exhaust_retries(envelope).await?;
    deployment.start_worker(&[]).await?;
    let id: i64 = wait_until("the dead letter is stored", async || {
        Ok(sqlx::query_scalar("SELECT id FROM dead_letters WHERE ticket_id = $1")
            .bind(envelope.ticket.id.0)
            .fetch_optional(&deployment.pool)
            .await?)
    })
    .await?;
    Ok(id.to_string())
}

/// Runs `hamro-worker dead-letters` with these arguments and these changes to the environment.
async fn run(deployment: &Deployment, arguments: &[&str], changes: &[(&str, &str)]) -> Result<Output> {
    let arguments = [&["dead-letters"], arguments].concat();
    Process::output("hamro-worker", &arguments, &deployment.environment(changes)).await
}

/// The output of a command that must succeed.
async fn stdout_of(deployment: &Deployment, arguments: &[&str]) -> Result<String> {
    let output = run(deployment, arguments, &[]).await?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn json(deployment: &Deployment, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&stdout_of(deployment, &[arguments, &["--json"]].concat()).await?)?)
}

/// The error message of a command that must fail.
async fn stderr_of(deployment: &Deployment, arguments: &[&str], changes: &[(&str, &str)]) -> Result<String> {
    let output = run(deployment, arguments, changes).await?;
    ensure!(output.status.code() == Some(1), "{arguments:?}: {output:?}");
    ensure!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stderr)?)
}

/// Reissues the dead letter, and returns its new ticket.
async fn reissue(deployment: &Deployment, id: &str) -> Result<String> {
    let answer = json(deployment, &["reissue", id]).await?;
    Ok(answer["ticketId"].as_str().context("no ticketId")?.to_owned())
}

async fn final_status(deployment: &Deployment, ticket: impl ToString) -> Result<Value> {
    deployment.client().final_status(&format!("/ticket-bookings/{}", ticket.to_string())).await
}

#[tokio::test]
async fn dead_letters_can_be_listed_shown_and_discarded() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        assert_eq!(stdout_of(deployment, &["list"]).await?, "No dead letters.\n");
        let seats = deployment.client().seat_ids(0).await?;
        let alice = envelope("alice", &seats[..1])?;
        let id = dead_letter(deployment, &alice).await?;
        deployment.publish(b"no \xff parcel").await?;
        deployment.drained().await?;

        let list = stdout_of(deployment, &["list"]).await?;
        let lines: Vec<&str> = list.lines().collect();
        assert_eq!(lines.len(), 3, "{list}");
        assert!(lines[0].starts_with("ID  TIME"), "{list}");
        assert!(
            lines[1].contains(&alice.ticket.id.to_string()) && lines[1].contains("workers-died"),
            "{list}"
        );
        assert!(lines[2].contains("unknown") && lines[2].contains("unreadable-parcel"), "{list}");
        assert!(!list.contains("alice"), "{list}");
        let newest = stdout_of(deployment, &["list", "--limit", "1"]).await?;
        assert!(newest.contains("unreadable-parcel") && newest.contains("1 older not shown"), "{newest}");

        let shown = stdout_of(deployment, &["show", &id]).await?;
        assert!(shown.contains("alice@example.com") && shown.contains("(failed)"), "{shown}");
        let shown = json(deployment, &["show", &id]).await?;
        assert_eq!(shown["payload"].as_str().map(str::as_bytes), Some(alice.clone().encode().as_slice()));
        let unreadable = json(deployment, &["list"]).await?["deadLetters"][1]["id"].to_string();
        let shown = json(deployment, &["show", &unreadable]).await?;
        assert_eq!(shown["payloadHex"], "6e6f20ff2070617263656c");

        let discarded =
            stdout_of(deployment, &["discard", &id, "--because", "she has got other seats"]).await?;
        assert_eq!(discarded, format!("Dead letter {id} is discarded.\n"));
        let list = json(deployment, &["list"]).await?;
        assert_eq!((&list["total"], list["deadLetters"].as_array().map(Vec::len)), (&1.into(), Some(1)));
        let all = stdout_of(deployment, &["list", "--all"]).await?;
        assert!(all.lines().nth(1).is_some_and(|line| line.ends_with("discarded")), "{all}");
        let shown = stdout_of(deployment, &["show", &id]).await?;
        assert!(shown.contains("she has got other seats"), "{shown}");
        for again in [&["discard", &id, "--because", "twice"][..], &["reissue", &id]] {
            let error = stderr_of(deployment, again, &[]).await?;
            assert!(error.contains("was already discarded"), "{error}");
        }
        Ok(())
    })
    .await
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

        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);
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
        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);
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
        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);
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
        let again = client.request(reqwest::Method::POST, "/ticket-bookings/seats");
        let again = again.header("Idempotency-Key", "\"k1\"").json(&booking("alice", &seats[..1]));
        let booked = Client::send(again).await?;
        assert_eq!(booked.status, 201);

        let ticket = reissue(deployment, &id).await?;
        let status = final_status(deployment, ticket).await?;
        assert_eq!((&status["status"], &status["booking"]), (&"confirmed".into(), &booked.body));
        assert_eq!(ledger::count(&deployment.pool, "sales").await?, 1);
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

#[tokio::test]
async fn failed_commands_explain_the_error_and_exit_with_a_nonzero_code() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        deployment.start_worker(&[]).await?;
        deployment.publish(b"no parcel").await?;
        deployment.drained().await?;
        let id = json(deployment, &["list"]).await?["deadLetters"][0]["id"].to_string();
        let error = stderr_of(deployment, &["reissue", &id], &[]).await?;
        assert!(error.contains("cannot be reissued: its payload is no"), "{error}");
        for unknown in [&["show", "999"][..], &["reissue", "999"], &["discard", "999", "--because", "x"]] {
            let error = stderr_of(deployment, unknown, &[]).await?;
            assert!(error.contains("there is no dead letter 999"), "{error}");
        }
        let error = stderr_of(deployment, &["list"], &[("DATABASE_URL", "")]).await?;
        assert!(error.contains("DATABASE_URL is not set"), "{error}");
        let away = ("DATABASE_URL", "postgres://hamro@127.0.0.1:1/hamro");
        let error = stderr_of(deployment, &["list"], &[away]).await?;
        assert!(error.contains("the database cannot be reached"), "{error}");
        let error = stderr_of(deployment, &["reissue", &id], &[("TICKET_KEYS", "")]).await?;
        assert!(error.contains("TICKET_KEYS is not set"), "{error}");
        for invalid in [
            &["discard", &id][..],
            &["discard", &id, "--because", ""],
            &["list", "--limit", "0"],
            &["show", "x"],
        ] {
            assert_eq!(run(deployment, invalid, &[]).await?.status.code(), Some(2), "{invalid:?}");
        }
        // These commands need only the database.
        let database_only = [("AMQP_URL", ""), ("TICKET_KEYS", "")];
        for command in [&["list"][..], &["show", &id], &["discard", &id, "--because", "it cannot be read"]] {
            let output = run(deployment, command, &database_only).await?;
            assert!(output.status.success(), "{command:?}: {output:?}");
        }
        Ok(())
    })
    .await
}
