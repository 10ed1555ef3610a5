//! Early rejection and idempotency keys.

use anyhow::{Context, Result};
use hamro_e2e::client::{Client, booking};
use hamro_e2e::{Deployment, Setup, tables, wait_until};
use hyper::Method;
use serde_json::json;

use super::{is_early, sold};
use crate::bookings::book_under_key;

#[tokio::test]
async fn a_retry_of_a_sold_booking_shares_it_and_other_keys_are_rejected_early() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::default() }, async |deployment| {
        let [one, other] = [0, 1].map(|number| deployment.apis[number].client.clone());
        let seats = one.seat_ids(0).await?;
        let first = book_under_key(&one, "key-1", &seats[..2]).await?;
        let booked = one.final_status(first.location()?).await?;
        assert_eq!(booked["status"], "confirmed");
        // One instance has learned the sale from its announcement or by reading it, the other only by reading it.
        for client in [&one, &other] {
            super::rejected_early(client, &seats[..2]).await?;
            for _ in 0..20 {
                let retry = book_under_key(client, "key-1", &seats[..2]).await?;
                assert_eq!(retry.status, 202, "{retry:?}");
                assert_eq!(client.final_status(retry.location()?).await?["booking"], booked["booking"]);
            }
            let another = book_under_key(client, "key-2", &seats[..2]).await?;
            assert!(is_early(&another), "{another:?}");
            // The same text is another customer's key.
            let request = client.request(Method::POST, "/ticket-bookings").header("Idempotency-Key", "key-1");
            let bob = Client::send(request.json(&booking("bob", &seats[..2]))).await?;
            assert!(is_early(&bob), "{bob:?}");
        }
        Ok(())
    })
    .await
}

/// Not even after another customer has bought the seat.
#[tokio::test]
async fn a_retry_of_a_booking_that_was_released_is_never_rejected_early() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let first = book_under_key(&client, "key-1", &seats[..1]).await?;
        let ticket = first.location()?.to_owned();
        client.final_status(&ticket).await?;
        let release = json!({"reason": "Refund 4711"});
        let released = client.write(Method::POST, &format!("{ticket}/release"), &release).await?;
        assert_eq!(released.status, 200, "{released:?}");
        wait_until("another customer has bought the seat", async || {
            Ok((client.book_seats("carol", &seats[..1]).await?.status == 201).then_some(()))
        })
        .await?;
        super::rejected_early(&client, &seats[..1]).await?;
        for _ in 0..20 {
            let retry = book_under_key(&client, "key-1", &seats[..1]).await?;
            let status = client.final_status(retry.location().context("it was not queued")?).await?;
            assert_eq!(
                (&status["status"], &status["releasedSeatIds"]),
                (&json!("confirmed"), &json!(&seats[..1]))
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_early_rejection_uses_up_no_key() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        sold(&client, &seats[..1]).await?;
        let early = book_under_key(&client, "key-7", &seats[..1]).await?;
        assert!(is_early(&early), "{early:?}");
        let rows = tables::count(&deployment.pool, "bookings").await?;
        // The client chooses another seat under the same key.
        let second = book_under_key(&client, "key-7", &seats[1..2]).await?;
        assert_eq!(client.final_status(second.location()?).await?["status"], "confirmed");
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, rows + 1);
        Ok(())
    })
    .await
}
