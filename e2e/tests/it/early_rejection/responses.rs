//! What an early rejection says, what it costs, and what comes before it.

use std::time::Instant;

use anyhow::Result;
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup, tables};
use hyper::Method;
use serde_json::{Value, json};

use super::{is_early, rejected_early, sold};

const QUEUEING: (&str, &str) = ("EARLY_REJECTION", "off");

#[tokio::test]
async fn an_early_rejection_says_what_a_worker_would_and_has_no_ticket() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let other = deployment.start_api(&[QUEUEING]).await?;
        let (client, queueing) = (deployment.client().clone(), deployment.apis[other].client.clone());
        let seats = client.seat_ids(0).await?;
        sold(&client, &seats[..2]).await?;
        let wanted = [seats[1], seats[5], seats[0]];
        let by_worker = queueing.book_seats("bob", &wanted).await?;
        assert_eq!(by_worker.body["seatIds"], json!([seats[1], seats[0]]), "{by_worker:?}");
        let early = rejected_early(&client, &wanted).await?;
        let waiting = client.book_seats("bob", &wanted).await?;
        for early in [early, waiting] {
            assert_eq!((early.status, &early.body), (409, &by_worker.body), "{early:?}");
            assert_eq!(early.header("content-type"), Some("application/problem+json"));
            for absent in ["location", "retry-after"] {
                assert_eq!(early.header(absent), None, "{early:?}");
            }
        }
        assert!(by_worker.location().is_ok());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_sold_out_concert_is_reported_as_such() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        for ten in seats.chunks(10) {
            let booked = client.book_seats("alice", ten).await?;
            assert_eq!(booked.status, 201, "{booked:?}");
        }
        let rejected = rejected_early(&client, &seats[..1]).await?;
        assert_eq!((rejected.code(), &rejected.body["seatIds"]), ("sold-out", &json!(&seats[..1])));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_early_rejection_costs_no_query_no_message_and_no_row() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        sold(&client, &seats[..1]).await?;
        deployment.drained().await?;
        let tap = deployment.tap().await?;
        let transactions =
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
        let (rows, before) = (
            tables::count(&deployment.pool, "bookings").await?,
            sqlx::query_scalar::<_, i64>(transactions).fetch_one(&deployment.pool).await?,
        );
        let started = Instant::now();
        for number in 0..1_000 {
            let customer = format!("customer{number}");
            let response = match number % 2 {
                0 => client.create_booking(&customer, &seats[..1]).await?,
                _ => client.book_seats(&customer, &seats[..1]).await?,
            };
            assert!(is_early(&response), "{response:?}");
        }
        let seconds = i64::try_from(started.elapsed().as_secs())? + 1;
        let after: i64 = sqlx::query_scalar(transactions).fetch_one(&deployment.pool).await?;
        // Four comparisons a second, and what the processes do anyway.
        assert!(after - before < 50 + 20 * seconds, "{} transactions in {seconds} s", after - before);
        assert_eq!(deployment.messages_in(&tap).await?, 0);
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, rows);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn early_rejection_can_be_switched_off() -> Result<()> {
    Deployment::run(Setup { variables: vec![QUEUEING], ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        for _ in 0..50 {
            let accepted = client.create_booking("bob", &seats[..1]).await?;
            assert_eq!(accepted.status, 202, "{accepted:?}");
            assert_eq!(client.final_status(accepted.location()?).await?["problem"]["code"], "seats-taken");
        }
        Ok(())
    })
    .await
}

/// A client that could not learn that a seat is sold does not learn it now.
#[tokio::test]
async fn what_was_reported_before_a_sold_seat_still_is() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (concert, _) = client.seat_map(0).await?;
        sold(&client, &seats[..1]).await?;
        let invalid = client.create_booking("", &seats[..1]).await?;
        assert_eq!((invalid.status, invalid.code()), (422, "invalid-request"));

        // What a worker reports first: an unknown seat, and seats of another concert than the one that is named.
        let unknown = client.book_seats("bob", &[seats[0], 2_000_000_000]).await?;
        assert_eq!((unknown.status, unknown.code()), (404, "seats-not-found"), "{unknown:?}");
        let other_concert = client.seat_map(1).await?.0;
        let mut elsewhere = hamro_e2e::client::booking("bob", &seats[..1]);
        elsewhere["concertId"] = json!(other_concert);
        let elsewhere = client.post("/ticket-bookings/seats", &elsewhere).await?;
        assert_eq!((elsewhere.status, elsewhere.code()), (404, "seats-not-found"), "{elsewhere:?}");

        // Sales that have closed.
        let path = format!("/concerts/{concert}");
        let mut closed = client.get(&path).await?.body;
        closed["salesOpenAt"] = json!("2001-01-01T00:00:00Z");
        closed["salesCloseAt"] = json!("2001-01-02T00:00:00Z");
        let updated = update(&client, &closed).await?;
        assert_eq!(updated, 200);
        let closed = hamro_e2e::wait_until("the instance knows that sales are closed", async || {
            let response = client.book_seats("bob", &seats[..1]).await?;
            Ok((response.code() == "sale-closed").then_some(response))
        })
        .await?;
        assert!(closed.location().is_ok(), "{closed:?}");
        Ok(())
    })
    .await
}

async fn update(client: &Client, concert: &Value) -> Result<u16> {
    Ok(client.write(Method::PUT, "/concerts", concert).await?.status)
}
