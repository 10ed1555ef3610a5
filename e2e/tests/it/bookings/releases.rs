//! Administrators release seats of bookings.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::{try_join, try_join_all};
use hamro_e2e::client::{ApiResponse, Client};
use hamro_e2e::{Deployment, Events, Setup, tables, wait_until};
use hyper::Method;
use serde_json::{Value, json};

use super::idempotency::book_under_key;

/// Releases these seats of the booking, or all of them.
pub(super) async fn release(client: &Client, ticket: &str, seats: Option<&[i64]>) -> Result<ApiResponse> {
    let mut body = json!({"reason": "Refund 4711"});
    if let Some(seats) = seats {
        body["seatIds"] = json!(seats);
    }
    client.write(Method::POST, &format!("{ticket}/release"), &body).await
}

/// Books the seats once they are free for new tickets.
pub(super) async fn book_once_free(client: &Client, customer: &str, seats: &[i64]) -> Result<ApiResponse> {
    wait_until("the seats can be booked", async || {
        let booked = client.book_seats(customer, seats).await?;
        ensure!(booked.status == 201 || booked.code() == "seats-taken", "{booked:?}");
        Ok((booked.status == 201).then_some(booked))
    })
    .await
}

async fn available(client: &Client) -> Result<Value> {
    Ok(client.seat_map(0).await?.1["availableSeats"].clone())
}

#[tokio::test]
async fn a_released_seat_is_sold_again_and_its_booking_and_retries_list_it() -> Result<()> {
    Deployment::run(Setup { workers: 2, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let accepted = book_under_key(&client, "key-1", &seats[..2]).await?;
        let ticket = accepted.location()?.to_owned();
        client.final_status(&ticket).await?;
        let before = client.get(&ticket).await?;
        let released = release(&client, &ticket, Some(&seats[1..2])).await?;
        assert_eq!(released.status, 200, "{released:?}");

        let after = client.get(&ticket).await?;
        assert_eq!(released.body, after.body);
        assert_eq!(released.header("etag"), after.header("etag"));
        assert_ne!(before.header("etag"), after.header("etag"));
        let mut expected = before.body.clone();
        expected["releasedSeatIds"] = json!([seats[1]]);
        expected["booking"]["releasedSeatIds"] = json!([seats[1]]);
        assert_eq!(after.body, expected);

        let retry = book_under_key(&client, "key-1", &seats[..2]).await?;
        let retried = client.final_status(retry.location()?).await?;
        assert_eq!((&retried["status"], &retried["booking"]), (&json!("confirmed"), &after.body["booking"]));
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);

        assert_eq!(available(&client).await?, 99);
        let (_, map) = client.seat_map(0).await?;
        assert_eq!(
            (&map["seats"][0]["isBooked"], &map["seats"][1]["isBooked"]),
            (&json!(true), &json!(false))
        );
        // Sold only to tickets that are issued later, by the database clock.
        let bob = book_once_free(&client, "bob", &seats[1..2]).await?;
        let early: bool = sqlx::query_scalar(
            "SELECT bool_or(sale.created_at < released.released_at + interval '2.9 s')
             FROM sales sale JOIN sale_seats sold ON sold.sale_id = sale.id
             JOIN sale_seats released ON released.seat_id = sold.seat_id AND released.released_at IS NOT NULL
             WHERE sold.released_at IS NULL",
        )
        .fetch_one(&deployment.pool)
        .await?;
        assert!(!early);
        // Not bob's seat, and alice's last one by the ticket of her retry.
        let all = release(&client, retry.location()?, None).await?;
        assert_eq!(all.body["releasedSeatIds"], json!(&seats[..2]), "{all:?}");
        assert_eq!(client.get(&ticket).await?.body["releasedSeatIds"], json!(&seats[..2]));
        assert_eq!(available(&client).await?, 99);
        assert_eq!(client.get(bob.location()?).await?.body.get("releasedSeatIds"), None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_repeated_release_changes_nothing_and_every_release_is_recorded() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let booked = client.book_seats("alice", &seats[..3]).await?;
        let ticket = booked.location()?;
        let first = release(&client, ticket, Some(&seats[..1])).await?;
        let again = release(&client, ticket, Some(&seats[..1])).await?;
        assert_eq!((first.status, again.status, &first.body), (200, 200, &again.body));
        // At the same time, from two administrators.
        let (one, two) = try_join(release(&client, ticket, None), release(&client, ticket, None)).await?;
        assert_eq!((one.status, two.status, &one.body), (200, 200, &two.body));
        assert_eq!(available(&client).await?, 100);
        let recorded: Vec<(Vec<i32>, String, String)> =
            sqlx::query_as("SELECT seat_ids, reason, released_by FROM releases ORDER BY id")
                .fetch_all(&deployment.pool)
                .await?;
        let row = |seats: &[i64]| {
            let seats = seats.iter().map(|seat| i32::try_from(*seat)).collect::<Result<Vec<_>, _>>();
            Ok::<_, anyhow::Error>((seats?, "Refund 4711".to_owned(), "admin".to_owned()))
        };
        assert_eq!(recorded, [row(&seats[..1])?, row(&seats[1..3])?]);
        let api = &mut deployment.apis[0].process;
        api.line_after("administrator admin: POST /ticket-bookings/").await?;
        let id = ticket.rsplit('/').next().unwrap_or_default();
        assert!(!api.printed().contains(id), "{}", api.printed());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_release_that_is_not_possible_says_why_and_changes_nothing() -> Result<()> {
    // An early rejection has no ticket.
    let variables = vec![("EARLY_REJECTION", "off")];
    Deployment::run(Setup { variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let booked = client.book_seats("alice", &seats[..2]).await?;
        let rejected = client.book_seats("bob", &seats[..1]).await?;
        let ticket = booked.location()?.to_owned();
        let path = format!("{ticket}/release");

        let others = release(&client, &ticket, Some(&[seats[0], seats[5], 2_000_000_000])).await?;
        assert_eq!((others.status, others.code()), (422, "invalid-request"), "{others:?}");
        assert_eq!(others.body["seatIds"], json!([seats[5], 2_000_000_000]));
        for body in [
            json!({}),
            json!({"reason": ""}),
            json!({"reason": "two\nlines"}),
            json!({"reason": "x".repeat(501)}),
            json!({"reason": "x", "seatIds": []}),
            json!({"reason": "x", "seatIds": [seats[0], seats[0]]}),
            json!({"reason": "x", "seatId": [seats[0]]}),
        ] {
            let invalid = client.write(Method::POST, &path, &body).await?;
            assert_eq!((invalid.status, invalid.code()), (422, "invalid-request"), "{body}: {invalid:?}");
        }
        let misspelt =
            client.write(Method::POST, &path, &json!({"reason": "x", "seatId": [seats[0]]})).await?;
        let detail = misspelt.body["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("has an unknown field"), "{misspelt:?}");
        let unknown = "/ticket-bookings/019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88";
        let unknown = release(&client, unknown, None).await?;
        assert_eq!((unknown.status, unknown.code()), (404, "ticket-not-found"));
        let nothing = release(&client, rejected.location()?, None).await?;
        assert_eq!((nothing.status, nothing.code()), (409, "not-confirmed"), "{nothing:?}");
        deployment.stop_workers().await?;
        let queued = client.create_booking("carol", &seats[2..3]).await?;
        let queued = release(&client, queued.location()?, None).await?;
        assert_eq!((queued.status, queued.code()), (409, "not-confirmed"), "{queued:?}");
        deployment.start_worker(&[]).await?;

        let without = client.post(&path, &json!({"reason": "x"})).await?;
        assert_eq!((without.status, without.code()), (401, "unauthorized"));
        assert_eq!(tables::count(&deployment.pool, "releases").await?, 0);
        Ok(())
    })
    .await
}

/// Reads events until this seat is reported as free.
async fn freed(events: &mut Events, seat: i64) -> Result<Value> {
    loop {
        let event = events.next().await?.context("the stream has ended")?;
        let is_freed =
            |name: &str| event.data[name].as_array().is_some_and(|seats| seats.contains(&json!(seat)));
        if is_freed("freedSeatIds") || event.name == "snapshot" && !is_freed("bookedSeatIds") {
            return Ok(event.data);
        }
    }
}

/// Two instances that know the booking and whose seat maps are watched.
async fn watched_booking(deployment: &Deployment) -> Result<(String, i64, Vec<Events>)> {
    let client = deployment.client();
    let seats = client.seat_ids(0).await?;
    let booked = client.book_seats("alice", &seats[..1]).await?;
    let ticket = booked.location()?.to_owned();
    let (concert, _) = client.seat_map(0).await?;
    let mut streams = Vec::new();
    for api in &deployment.apis {
        assert_eq!(api.client.final_status(&ticket).await?["status"], "confirmed");
        let mut events = Events::open(&api.client, &format!("/seats/concert/{concert}/events")).await?;
        let snapshot = events.next().await?.context("no snapshot")?;
        assert_eq!(snapshot.data["bookedSeatIds"], json!([seats[0]]));
        streams.push(events);
    }
    Ok((ticket, seats[0], streams))
}

#[tokio::test]
async fn a_release_reaches_every_instance_and_its_watchers() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::default() }, async |deployment| {
        let (ticket, seat, mut streams) = watched_booking(deployment).await?;
        assert_eq!(release(deployment.client(), &ticket, None).await?.status, 200);
        // At once on the instance that released it.
        assert_eq!(deployment.client().get(&ticket).await?.body["releasedSeatIds"], json!([seat]));
        for events in &mut streams {
            assert_eq!(freed(events, seat).await?["availableSeats"], 100);
        }
        let began = Instant::now();
        wait_until("the other instance knows", async || {
            let status = deployment.apis[1].client.get(&ticket).await?;
            Ok((status.body["releasedSeatIds"] == json!([seat])).then_some(()))
        })
        .await?;
        // Otherwise the outcome in its memory has expired, and not been replaced.
        assert!(began.elapsed() < Duration::from_secs(20));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn watchers_see_a_release_whose_announcement_is_lost() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::default() }, async |deployment| {
        let (ticket, seat, mut streams) = watched_booking(deployment).await?;
        deployment.lose_announcements().await?;
        assert_eq!(release(deployment.client(), &ticket, None).await?.status, 200);
        for events in &mut streams {
            assert_eq!(freed(events, seat).await?["availableSeats"], 100);
        }
        Ok(())
    })
    .await
}

/// How long bookings and releases compete. A released seat is free after three seconds.
const RACE: Duration = Duration::from_secs(9);

/// Books two of the seats again and again, in either order, and returns the tickets that were confirmed.
async fn keep_booking(client: &Client, name: &str, seats: &[i64]) -> Result<Vec<String>> {
    let (began, mut confirmed) = (Instant::now(), Vec::new());
    let mut pair = [seats[0], seats[1]];
    while began.elapsed() < RACE {
        for seat in &mut pair {
            *seat = seats[rand::random_range(0..seats.len())];
        }
        if pair[0] == pair[1] {
            continue;
        }
        let booked = client.book_seats(name, &pair).await?;
        match booked.status {
            201 => confirmed.push(booked.location()?.to_owned()),
            _ => ensure!(matches!(booked.code(), "seats-taken" | "sold-out"), "{booked:?}"),
        }
    }
    Ok(confirmed)
}

/// Releases whatever is sold, each booking from both instances at the same time.
async fn keep_releasing(deployment: &Deployment) -> Result<usize> {
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < RACE {
        let tickets: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT booking.ticket_id::text FROM bookings booking
             JOIN sale_seats sold ON sold.sale_id = booking.sale_id AND sold.released_at IS NULL",
        )
        .fetch_all(&deployment.pool)
        .await?;
        for ticket in tickets {
            let path = format!("/ticket-bookings/{ticket}");
            let releases = deployment.apis.iter().map(|api| release(&api.client, &path, None));
            for released in try_join_all(releases).await? {
                ensure!(released.status == 200, "{released:?}");
            }
            count += 1;
        }
    }
    Ok(count)
}

/// The deployment's final verification compares seats, sales and counters.
#[tokio::test]
async fn releases_and_bookings_of_the_same_seats_at_once_keep_every_seat_in_one_sale() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 3, ..Setup::default() }, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let names: Vec<String> = (0..12).map(|number| format!("customer{number}")).collect();
        let buyers = names.iter().enumerate().map(|(number, name)| {
            let client = &deployment.apis[number % 2].client;
            keep_booking(client, name, &seats[..6])
        });
        let (confirmed, released) = try_join(try_join_all(buyers), keep_releasing(deployment)).await?;
        let confirmed = confirmed.concat();
        assert!(confirmed.len() > 4 && released > 4, "{} sales, {released} releases", confirmed.len());
        let early: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM sales sale JOIN sale_seats sold ON sold.sale_id = sale.id
             JOIN sale_seats earlier ON earlier.seat_id = sold.seat_id AND earlier.sale_id < sale.id
             WHERE earlier.released_at IS NULL OR sale.created_at < earlier.released_at + interval '2.9 s'",
        )
        .fetch_one(&deployment.pool)
        .await?;
        assert_eq!(early, 0);
        assert_eq!(tables::deadlocks(&deployment.pool).await?, 0);
        assert_eq!(tables::count(&deployment.pool, "dead_letters").await?, 0);
        for ticket in confirmed {
            let (one, two) =
                try_join(deployment.apis[0].client.get(&ticket), deployment.apis[1].client.get(&ticket))
                    .await?;
            assert_eq!(
                (&one.body["status"], &one.body["booking"]["seats"]),
                (&json!("confirmed"), &two.body["booking"]["seats"])
            );
        }
        Ok(())
    })
    .await
}
