//! `hamro-api person export`, and what every command about a person must reach.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use hamro_api::person::stored::COLUMNS;
use hamro_e2e::client::Client;
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Deployment, Setup, tables, wait_until};
use hyper::Method;
use serde_json::{Value, json};

use super::{ADDRESS, TRACES, booking, columns_with, discard, hamro_api, unreadable, with_dead_letters};

/// Lets a booking of the person end in every way that there is: confirmed, confirmed as a retry, rejected, expired, failed
/// with a dead letter, and unreadable, in an open and in a discarded dead letter.
async fn book_with_every_outcome(deployment: &mut Deployment) -> Result<()> {
    let client = deployment.client().clone();
    let seats = client.seat_ids(0).await?;
    let keyed = booking("Zenobia Quartz", ADDRESS, &seats[..2]);
    let mut tickets = Vec::new();
    for _ in 0..2 {
        let request = client.request(Method::POST, "/ticket-bookings/seats").header("Idempotency-Key", "k1");
        let booked = Client::send(request.json(&keyed)).await?;
        assert_eq!(booked.status, 201);
        tickets.push(booked.location()?.to_owned());
    }
    let release = json!({"seatIds": [seats[1]], "reason": format!("for zenobia quartz, {ADDRESS}")});
    let released = client.write(Method::POST, &format!("{}/release", tickets[1]), &release).await?;
    assert_eq!(released.status, 200, "{released:?}");
    let upper_case = booking("ZENOBIA QUARTZ", &ADDRESS.to_uppercase(), &seats[2..3]);
    assert_eq!(client.post("/ticket-bookings/seats", &upper_case).await?.status, 201);
    let taken =
        client.post("/ticket-bookings/seats", &booking("Zenobia Quartz", ADDRESS, &seats[..1])).await?;
    assert_eq!(taken.code(), "seats-taken");
    let other =
        client.post("/ticket-bookings/seats", &booking("Bob", "bob@example.com", &seats[4..5])).await?;
    assert_eq!(other.status, 201);

    let mut expired = envelope("zenobia", &seats[5..6])?;
    expired.request = serde_json::from_value(booking("Zenobia Quartz", ADDRESS, &seats[5..6]))?;
    expired.ticket.deadline = expired.ticket.id.issued_at() + Duration::from_millis(1);
    deployment.publish(&hamro_e2e::dead_letter_setup::parcel([&expired])).await?;
    let letters = unreadable(deployment).await?;
    discard(deployment, letters[0], &format!("{ADDRESS} has called")).await?;

    deployment.stop_workers().await?;
    let mut poison = envelope("zenobia", &seats[6..7])?;
    poison.request = serde_json::from_value(booking("Zenobia Quartz", ADDRESS, &seats[6..7]))?;
    deployment.exhaust_retries(&poison).await?;
    deployment.start_worker(&[]).await?;
    for (ticket, status) in [(expired.ticket.id, "expired"), (poison.ticket.id, "failed")] {
        let ended = client.final_status(&format!("/ticket-bookings/{ticket}")).await?;
        assert_eq!(ended["status"], status);
    }
    wait_until("the poison booking is a dead letter", async || {
        Ok((tables::count(&deployment.pool, "dead_letters").await? == 3).then_some(()))
    })
    .await
}

fn with_every_outcome() -> Setup {
    Setup { variables: vec![("REAPER_DELAY", "0s"), ("EARLY_REJECTION", "off")], ..with_dead_letters() }
}

/// A new table or column with a name or an address fails this test until `COLUMNS`, the export and the erasure know it.
#[tokio::test]
async fn names_and_addresses_are_stored_in_the_listed_columns_only() -> Result<()> {
    Deployment::run(with_every_outcome(), async |deployment| {
        book_with_every_outcome(deployment).await?;
        let mut found = BTreeSet::new();
        for trace in TRACES {
            found.extend(columns_with(&deployment.pool, trace).await?);
        }
        assert_eq!(found, COLUMNS.map(str::to_owned).into());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_export_contains_every_row_about_the_person_and_nobody_else() -> Result<()> {
    Deployment::run(with_every_outcome(), async |deployment| {
        book_with_every_outcome(deployment).await?;
        let (status, printed, error) =
            hamro_api(deployment, &["person", "export", "--email", &ADDRESS.to_uppercase()]).await?;
        assert_eq!(status, Some(0), "{error}");
        let export: Value = serde_json::from_str(&printed)?;
        assert_eq!(export["email"], ADDRESS);
        let list = |name: &str| export[name].as_array().cloned().unwrap_or_default();
        let (sales, bookings, letters) = (list("sales"), list("bookings"), list("deadLetters"));

        assert_eq!(sales.len(), 2, "{printed}");
        assert_eq!(sales[0]["userName"], "Zenobia Quartz");
        assert_eq!(sales[0]["seats"].as_array().map(Vec::len), Some(2));
        for member in
            ["seatId", "price", "seatNumber", "section", "row", "concertId", "concert", "concertDate"]
        {
            assert!(!sales[0]["seats"][0][member].is_null(), "{member}: {printed}");
        }
        assert!(sales[0]["seats"][0]["releasedAt"].is_null() && !sales[0]["seats"][1]["releasedAt"].is_null());
        let reason = sales[0]["releases"][0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(ADDRESS), "{printed}");
        assert_eq!(sales[1]["userEmail"], ADDRESS.to_uppercase());

        let statuses: BTreeSet<_> =
            bookings.iter().filter_map(|booking| booking["status"].as_str()).collect();
        assert_eq!(statuses, ["confirmed", "expired", "failed", "rejected"].into());
        assert_eq!(bookings.iter().filter(|booking| !booking["aliasOf"].is_null()).count(), 1);
        assert_eq!(
            bookings.iter().filter(|booking| booking["rejection"]["code"] == "seats-taken").count(),
            1
        );
        let exported: Vec<_> = bookings.iter().filter_map(|booking| booking["ticketId"].as_str()).collect();
        let others: Vec<String> = sqlx::query_scalar(
            "SELECT concat_ws(' ', status, user_email) FROM bookings WHERE ticket_id::text <> ALL ($1) ORDER BY 1",
        )
        .bind(exported)
        .fetch_all(&deployment.pool)
        .await?;
        // The second is the harness's marker, which shows that the queue is empty.
        assert_eq!(others, ["confirmed bob@example.com", "rejected marker@example.com"]);

        assert_eq!(letters.len(), 3, "{printed}");
        assert_eq!(letters[0]["discardReason"], format!("{ADDRESS} has called"));
        assert_eq!(letters[2]["payload"]["request"]["userEmail"], json!(ADDRESS), "{printed}");
        assert!(!printed.contains("bob@example.com"), "{printed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_export_of_an_unknown_person_says_so() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let (status, printed, error) =
            hamro_api(deployment, &["person", "export", "--email", "nobody@example.com"]).await?;
        assert_eq!((status, printed.as_str()), (Some(3), ""));
        assert!(error.contains("nothing is stored about this address"), "{error}");
        let (status, _, error) = hamro_api(deployment, &["person", "export", "--email", "nobody"]).await?;
        assert_eq!(status, Some(2));
        assert!(error.contains("must be an e-mail address such as"), "{error}");
        Ok(())
    })
    .await
}
