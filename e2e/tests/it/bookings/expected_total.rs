//! The total that a customer has agreed to pay.

use anyhow::{Context, Result};
use hamro_e2e::client::{ApiResponse, Client, booking};
use hamro_e2e::{Deployment, Setup, tables, wait_until};
use hyper::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// A booking of these seats at this total.
fn at(total: &str, customer: &str, seats: &[i64]) -> Value {
    let mut body = booking(customer, seats);
    body["expectedTotal"] = json!(total);
    body
}

async fn book(client: &Client, body: &Value) -> Result<ApiResponse> {
    client.post("/ticket-bookings/seats", body).await
}

/// Sets the price of the tier of the first seat of the first concert.
async fn set_price(client: &Client, price: &str) -> Result<()> {
    let (concert, map) = client.seat_map(0).await?;
    let tier = client.get(&format!("/ticket-tiers/{}", map["seats"][0]["ticketTierId"])).await?.body;
    let change =
        json!({"id": tier["id"], "concertId": concert, "ticketTypeId": tier["ticketTypeId"], "price": price});
    let changed = client.write(Method::PUT, "/ticket-tiers", &change).await?;
    assert_eq!(changed.status, 200, "{changed:?}");
    Ok(())
}

#[tokio::test]
async fn a_booking_at_another_price_than_the_customer_has_seen_is_rejected_with_the_new_total() -> Result<()>
{
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        assert_eq!(book(client, &at("200.00", "alice", &seats[..2])).await?.status, 201);
        set_price(client, "120").await?;
        let refused = book(client, &at("200.00", "bob", &seats[2..4])).await?;
        assert_eq!((refused.status, refused.code()), (409, "price-changed"), "{refused:?}");
        assert_eq!(
            (&refused.body["total"], &refused.body["expectedTotal"]),
            (&json!("240.00"), &json!("200.00"))
        );
        let detail = refused.body["detail"].as_str().context("no detail")?;
        assert!(
            detail.contains("cost 240.00, not 200.00") && detail.contains("Confirm the new total"),
            "{detail}"
        );
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);

        // The other endpoint, under a key: its ticket is rejected, and the key is free for the new consent.
        let request = |body: &Value| {
            let request = client.request(Method::POST, "/ticket-bookings");
            request.header("Idempotency-Key", "k").header("Prefer", "wait=20").json(body)
        };
        let refused = Client::send(request(&at("200", "bob", &seats[2..4]))).await?;
        assert_eq!((refused.status, refused.code()), (409, "price-changed"), "{refused:?}");
        let status = client.get(refused.location()?).await?.body;
        assert_eq!((&status["status"], &status["problem"]["total"]), (&json!("rejected"), &json!("240.00")));
        let booked = Client::send(request(&at("240", "bob", &seats[2..4]))).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        let conflict = Client::send(request(&at("200", "bob", &seats[2..4]))).await?;
        assert_eq!((conflict.status, conflict.code()), (422, "idempotency-key-reused"), "{conflict:?}");
        // Without a total, at any price.
        assert_eq!(client.book_seats("carol", &seats[4..5]).await?.status, 201);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn seats_that_are_known_to_be_sold_are_refused_before_their_price() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        let early = wait_until("a booking is refused early", async || {
            let refused = book(client, &at("1.00", "bob", &seats[..2])).await?;
            assert_eq!((refused.status, refused.code()), (409, "seats-taken"), "{refused:?}");
            Ok(refused.location().is_err().then_some(refused))
        })
        .await?;
        assert_eq!(early.body["seatIds"], json!(&seats[..1]));
        Ok(())
    })
    .await
}

/// Sends a heartbeat of an older worker, and then the booking. Returns the response if it was refused because of that worker.
async fn refused_for(deployment: &Deployment, older: Uuid, body: &Value) -> Result<Option<ApiResponse>> {
    deployment.send_worker_heartbeat(older, 1, false).await?;
    let response = deployment.client().post("/ticket-bookings", body).await?;
    Ok((response.code() == "upgrade-in-progress").then_some(response))
}

#[tokio::test]
async fn a_booking_with_an_expected_total_is_accepted_once_all_workers_compare_it() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let body = at("100.00", "alice", &seats[..1]);
        // No worker was heard yet.
        let refused = book(deployment.client(), &body).await?;
        assert_eq!((refused.status, refused.code()), (503, "not-ready"), "{refused:?}");
        assert!(refused.header("retry-after").is_some(), "{refused:?}");

        let old = Uuid::new_v4();
        wait_until("the instance has heard the older worker", async || {
            refused_for(deployment, old, &body).await
        })
        .await?;
        // One that compares totals is not enough.
        deployment.start_worker(&[]).await?;
        let client = deployment.client();
        wait_until("the instance has heard the worker", async || {
            Ok((client.get("/queue").await?.body["workers"] == 1).then_some(()))
        })
        .await?;
        let refused = refused_for(deployment, old, &body).await?.context("the booking was not refused")?;
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.header("retry-after").is_some() && refused.location().is_err(), "{refused:?}");
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 0);
        assert_eq!(
            client.book_seats("bob", &seats[1..2]).await?.status,
            201,
            "without a total, any worker will do"
        );

        deployment.send_worker_heartbeat(old, 1, true).await?;
        wait_until("the older worker counts no more", async || {
            let response = book(client, &body).await?;
            Ok((response.status == 201).then_some(()))
        })
        .await
    })
    .await
}
