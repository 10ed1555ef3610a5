//! The operator's commands: `hamro-worker dead-letters`.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::booking;
use hamro_e2e::installation::envelope;
use hamro_e2e::process::Process;
use hamro_e2e::{Client, Installation, Setup, ledger, wait_until};
use hamro_shared::domain::IdempotencyKey;
use hamro_shared::queue::Envelope;
use serde_json::Value;

/// Nobody listens there.
const NO_BROKER: (&str, &str) = ("AMQP_URL", "amqp://127.0.0.1:1/%2f");

async fn installation() -> Result<Installation> {
    let variables = vec![("REAPER_DELAY", "0s")];
    let mut installation = Installation::start(Setup { workers: 0, variables, ..Setup::default() }).await?;
    // A dead letter is an error in the log.
    installation.expects_errors = true;
    Ok(installation)
}

/// The number of the dead letter that is left of this booking, once a worker has given it up.
async fn dead_letter(installation: &mut Installation, envelope: &Envelope) -> Result<String> {
    installation.condemn(envelope).await?;
    installation.start_worker(&[]).await?;
    let id: i64 = wait_until("the dead letter is kept", async || {
        Ok(sqlx::query_scalar("SELECT id FROM dead_letters WHERE ticket_id = $1")
            .bind(envelope.ticket.id.0)
            .fetch_optional(&installation.pool)
            .await?)
    })
    .await?;
    Ok(id.to_string())
}

/// `hamro-worker dead-letters` with these arguments, in an environment with these changes.
async fn run(installation: &Installation, arguments: &[&str], changes: &[(&str, &str)]) -> Result<Output> {
    let arguments = [&["dead-letters"], arguments].concat();
    Process::output("hamro-worker", &arguments, &installation.environment(changes)).await
}

/// What the command prints, if it succeeds.
async fn says(installation: &Installation, arguments: &[&str]) -> Result<String> {
    let output = run(installation, arguments, &[]).await?;
    ensure!(output.status.success(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn json(installation: &Installation, arguments: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&says(installation, &[arguments, &["--json"]].concat()).await?)?)
}

/// What the command complains of, if it fails.
async fn complains(
    installation: &Installation,
    arguments: &[&str],
    changes: &[(&str, &str)],
) -> Result<String> {
    let output = run(installation, arguments, changes).await?;
    ensure!(output.status.code() == Some(1), "{arguments:?}: {output:?}");
    ensure!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    Ok(String::from_utf8(output.stderr)?)
}

/// Reissues the letter, and returns the ticket that it has become.
async fn reissue(installation: &Installation, id: &str) -> Result<String> {
    let answer = json(installation, &["reissue", id]).await?;
    Ok(answer["ticketId"].as_str().context("no ticketId")?.to_owned())
}

async fn final_status(installation: &Installation, ticket: impl ToString) -> Result<Value> {
    installation.client().final_status(&format!("/ticket-bookings/{}", ticket.to_string())).await
}

#[tokio::test]
async fn dead_letters_are_listed_without_names_shown_whole_and_discarded_with_a_reason() -> Result<()> {
    let mut installation = installation().await?;
    assert_eq!(says(&installation, &["list"]).await?, "There are none.\n");
    let seats = installation.client().seat_ids(0).await?;
    let alice = envelope("alice", &seats[..1])?;
    let id = dead_letter(&mut installation, &alice).await?;
    installation.publish(b"no \xff parcel").await?;
    installation.drained().await?;

    let list = says(&installation, &["list"]).await?;
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    assert!(lines[0].starts_with("ID  TIME"), "{list}");
    assert!(lines[1].contains(&alice.ticket.id.to_string()) && lines[1].contains("workers-died"), "{list}");
    assert!(lines[2].contains("unknown") && lines[2].contains("unreadable-parcel"), "{list}");
    assert!(!list.contains("alice"), "{list}");
    let newest = says(&installation, &["list", "--limit", "1"]).await?;
    assert!(newest.contains("unreadable-parcel") && newest.contains("And 1 older ones"), "{newest}");

    let shown = says(&installation, &["show", &id]).await?;
    assert!(shown.contains("alice@example.com") && shown.contains("(failed)"), "{shown}");
    let shown = json(&installation, &["show", &id]).await?;
    assert_eq!(shown["payload"].as_str().map(str::as_bytes), Some(alice.clone().encode().as_slice()));
    let unreadable = json(&installation, &["list"]).await?["deadLetters"][1]["id"].to_string();
    let shown = json(&installation, &["show", &unreadable]).await?;
    assert_eq!(shown["payloadHex"], "6e6f20ff2070617263656c");

    let discarded = says(&installation, &["discard", &id, "--because", "she has got other seats"]).await?;
    assert_eq!(discarded, format!("Dead letter {id} is discarded.\n"));
    let list = json(&installation, &["list"]).await?;
    assert_eq!((&list["total"], list["deadLetters"].as_array().map(Vec::len)), (&1.into(), Some(1)));
    let all = says(&installation, &["list", "--all"]).await?;
    assert!(all.lines().nth(1).is_some_and(|line| line.ends_with("discarded")), "{all}");
    let shown = says(&installation, &["show", &id]).await?;
    assert!(shown.contains("she has got other seats"), "{shown}");
    for again in [&["discard", &id, "--because", "twice"][..], &["reissue", &id]] {
        let complaint = complains(&installation, again, &[]).await?;
        assert!(complaint.contains("has been discarded already"), "{complaint}");
    }
    installation.close().await
}

#[tokio::test]
async fn a_letter_that_is_reissued_is_one_booking_under_a_new_ticket() -> Result<()> {
    let mut installation = installation().await?;
    let seats = installation.client().seat_ids(0).await?;
    let alice = envelope("alice", &seats[..2])?;
    let id = dead_letter(&mut installation, &alice).await?;
    let failed = final_status(&installation, alice.ticket.id).await?;
    assert_eq!(failed["status"], "failed");

    let ticket = reissue(&installation, &id).await?;
    assert_ne!(ticket, alice.ticket.id.to_string());
    assert_eq!(final_status(&installation, &ticket).await?["status"], "confirmed");
    let complaint = complains(&installation, &["reissue", &id], &[]).await?;
    assert!(complaint.contains(&format!("already: ticket {ticket} is confirmed")), "{complaint}");
    let complaint = complains(&installation, &["discard", &id, "--because", "late"], &[]).await?;
    assert!(complaint.contains("has been reissued already"), "{complaint}");

    assert_eq!(ledger::count(&installation.pool, "sales").await?, 1);
    assert_eq!(final_status(&installation, alice.ticket.id).await?, failed);
    let list = says(&installation, &["list", "--all"]).await?;
    assert!(list.contains(&format!("reissued as {ticket}")), "{list}");
    installation.close().await
}

#[tokio::test]
async fn a_reissue_that_is_broken_off_goes_on_with_the_same_ticket() -> Result<()> {
    let mut installation = installation().await?;
    let seats = installation.client().seat_ids(0).await?;
    let alice = envelope("alice", &seats[..1])?;
    let id = dead_letter(&mut installation, &alice).await?;

    // Before the booking is in the queue.
    let complaint = complains(&installation, &["reissue", &id], &[NO_BROKER]).await?;
    let (_, ticket) = complaint.split_once("the same ticket ").context("no ticket")?;
    let ticket = ticket.split(':').next().context("no ticket")?;
    let list = says(&installation, &["list"]).await?;
    assert!(list.contains(&format!("open, being reissued as {ticket}")), "{list}");
    let complaint = complains(&installation, &["discard", &id, "--because", "no"], &[]).await?;
    assert!(complaint.contains("to its end"), "{complaint}");
    assert_eq!(reissue(&installation, &id).await?, ticket);

    // Behind that, before it is marked as done; and the worker has not settled it yet, or it has.
    let forget = "UPDATE dead_letters SET resolution = NULL, resolved_at = NULL";
    sqlx::raw_sql(forget).execute(&installation.pool).await?;
    assert_eq!(reissue(&installation, &id).await?, ticket);
    assert_eq!(final_status(&installation, ticket).await?["status"], "confirmed");
    sqlx::raw_sql(forget).execute(&installation.pool).await?;
    assert_eq!(reissue(&installation, &id).await?, ticket);
    installation.drained().await?;
    assert_eq!(ledger::count(&installation.pool, "sales").await?, 1);
    installation.close().await
}

#[tokio::test]
async fn a_letter_whose_new_ticket_has_expired_can_be_reissued_again() -> Result<()> {
    let mut installation = installation().await?;
    let seats = installation.client().seat_ids(0).await?;
    let alice = envelope("alice", &seats[..1])?;
    let id = dead_letter(&mut installation, &alice).await?;
    let overdue = ("BOOKING_DEADLINE", "1ms");
    let mut tickets = Vec::new();
    for _ in 0..2 {
        let complaint = complains(&installation, &["reissue", &id], &[NO_BROKER, overdue]).await?;
        let (_, ticket) = complaint.split_once("the same ticket ").context("no ticket")?;
        tickets.push(ticket.split(':').next().context("no ticket")?.to_owned());
    }
    let output = run(&installation, &["reissue", &id, "--json"], &[overdue]).await?;
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    tickets.push(answer["ticketId"].as_str().context("no ticketId")?.to_owned());
    // Each was fenced off before there was another.
    for ticket in &tickets {
        assert_eq!(final_status(&installation, ticket).await?["status"], "expired");
    }
    tickets.push(reissue(&installation, &id).await?);
    assert_eq!(final_status(&installation, &tickets[3]).await?["status"], "confirmed");
    tickets.dedup();
    assert_eq!(tickets.len(), 4);
    assert_eq!(ledger::count(&installation.pool, "sales").await?, 1);
    installation.close().await
}

#[tokio::test]
async fn a_letter_whose_seats_are_taken_by_now_is_rejected_under_its_new_ticket() -> Result<()> {
    let mut installation = installation().await?;
    let client = installation.client().clone();
    let seats = client.seat_ids(0).await?;
    let alice = envelope("alice", &seats[..1])?;
    let id = dead_letter(&mut installation, &alice).await?;
    assert_eq!(client.book_seats("bob", &seats[..1]).await?.status, 201);

    let ticket = reissue(&installation, &id).await?;
    let rejected = final_status(&installation, ticket).await?;
    assert_eq!(
        (&rejected["status"], &rejected["problem"]["code"]),
        (&"rejected".into(), &"seats-taken".into())
    );
    assert_eq!(final_status(&installation, alice.ticket.id).await?["status"], "failed");
    installation.close().await
}

#[tokio::test]
async fn a_customer_who_has_tried_again_under_the_same_key_is_not_sold_the_seats_twice() -> Result<()> {
    let mut installation = installation().await?;
    let client = installation.client().clone();
    let seats = client.seat_ids(0).await?;
    let mut alice = envelope("alice", &seats[..1])?;
    alice.idempotency_key = Some(IdempotencyKey::new("k1")?);
    let id = dead_letter(&mut installation, &alice).await?;
    let again = client.request(reqwest::Method::POST, "/ticket-bookings/seats");
    let again = again.header("Idempotency-Key", "\"k1\"").json(&booking("alice", &seats[..1]));
    let booked = Client::send(again).await?;
    assert_eq!(booked.status, 201);

    let ticket = reissue(&installation, &id).await?;
    let status = final_status(&installation, ticket).await?;
    assert_eq!((&status["status"], &status["booking"]), (&"confirmed".into(), &booked.body));
    assert_eq!(ledger::count(&installation.pool, "sales").await?, 1);
    installation.close().await
}

#[tokio::test]
async fn a_booking_that_was_settled_before_workers_died_of_it_is_not_reissued() -> Result<()> {
    let mut installation = installation().await?;
    let seats = installation.client().seat_ids(0).await?;
    let alice = envelope("alice", &seats[..1])?;
    installation.publish(&hamro_e2e::strays::parcel([&alice])).await?;
    installation.start_worker(&[]).await?;
    assert_eq!(final_status(&installation, alice.ticket.id).await?["status"], "confirmed");
    let mut worker = installation.workers.pop().context("no worker")?;
    worker.signal(nix::sys::signal::Signal::SIGTERM)?;
    assert!(worker.ended().await?.success(), "{}", worker.printed());

    let id = dead_letter(&mut installation, &alice).await?;
    assert_eq!(final_status(&installation, alice.ticket.id).await?["status"], "confirmed");
    let complaint = complains(&installation, &["reissue", &id], &[]).await?;
    assert!(complaint.contains("there is nothing to reissue: this booking is confirmed"), "{complaint}");
    installation.close().await
}

#[tokio::test]
async fn what_cannot_be_done_is_said_and_fails() -> Result<()> {
    let mut installation = installation().await?;
    installation.start_worker(&[]).await?;
    installation.publish(b"no parcel").await?;
    installation.drained().await?;
    let id = json(&installation, &["list"]).await?["deadLetters"][0]["id"].to_string();
    let complaint = complains(&installation, &["reissue", &id], &[]).await?;
    assert!(complaint.contains("cannot be reissued: its payload is no"), "{complaint}");
    for unknown in [&["show", "999"][..], &["reissue", "999"], &["discard", "999", "--because", "x"]] {
        let complaint = complains(&installation, unknown, &[]).await?;
        assert!(complaint.contains("there is no dead letter 999"), "{complaint}");
    }
    let complaint = complains(&installation, &["list"], &[("DATABASE_URL", "")]).await?;
    assert!(complaint.contains("DATABASE_URL is not set"), "{complaint}");
    let away = ("DATABASE_URL", "postgres://hamro@127.0.0.1:1/hamro");
    let complaint = complains(&installation, &["list"], &[away]).await?;
    assert!(complaint.contains("the database cannot be reached"), "{complaint}");
    let complaint = complains(&installation, &["reissue", &id], &[("TICKET_KEYS", "")]).await?;
    assert!(complaint.contains("TICKET_KEYS is not set"), "{complaint}");
    for wrong in
        [&["discard", &id][..], &["discard", &id, "--because", ""], &["list", "--limit", "0"], &["show", "x"]]
    {
        assert_eq!(run(&installation, wrong, &[]).await?.status.code(), Some(2), "{wrong:?}");
    }
    // For these, the database is enough.
    let alone = [("AMQP_URL", ""), ("TICKET_KEYS", "")];
    for enough in [&["list"][..], &["show", &id], &["discard", &id, "--because", "nobody can read it"]] {
        let output = run(&installation, enough, &alone).await?;
        assert!(output.status.success(), "{enough:?}: {output:?}");
    }
    installation.close().await
}
