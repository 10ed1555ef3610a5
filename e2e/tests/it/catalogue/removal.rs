//! The removal of seats that are not sold, and of ticket types that no tier has.

use anyhow::{Context, Result};
use hamro_e2e::client::{ApiResponse, Client};
use hamro_e2e::{Deployment, Events, Setup};
use hyper::Method;
use serde_json::{Value, json};

use super::{api_sessions_wait_for_locks, created, hold_tier};

async fn delete(client: &Client, path: &str) -> Result<ApiResponse> {
    client.write(Method::DELETE, path, &Value::Null).await
}

/// The counters of the tier of the first seat.
async fn counters(client: &Client, map: &Value) -> Result<(Value, Value)> {
    let tier = client.get(&format!("/ticket-tiers/{}", map["seats"][0]["ticketTierId"])).await?.body;
    Ok((tier["total"].clone(), tier["available"].clone()))
}

#[tokio::test]
async fn an_unsold_seat_is_removed_and_watchers_see_it() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let seats = client.seat_ids(0).await?;
        let mut events = Events::open(client, &format!("/seats/concert/{concert}/events")).await?;
        assert_eq!(events.next().await?.context("no snapshot")?.data["totalSeats"], 100);

        let path = format!("/seats/{}", seats[0]);
        assert_eq!(delete(client, &path).await?.status, 204);
        assert_eq!(events.next().await?.context("no snapshot")?.data["totalSeats"], 99);
        assert_eq!(counters(client, &map).await?, (json!(19), json!(19)));
        let again = delete(client, &path).await?;
        assert_eq!((again.status, again.code()), (404, "not-found"));
        let booked = client.book_seats("alice", &seats[..2]).await?;
        assert_eq!((booked.status, booked.code()), (404, "seats-not-found"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_block_with_a_sold_seat_is_not_removed() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        for path in [format!("/seats/{}", seats[0]), format!("/concerts/{concert}/seats?section=vip")] {
            let refused = delete(client, &path).await?;
            assert_eq!((refused.status, refused.code()), (409, "has-sales"), "{refused:?}");
            assert_eq!(
                refused.body["detail"],
                "Seat V-1 in row 2 of section vip is sold. Nothing was removed."
            );
            assert_eq!(refused.body["seatIds"], json!(seats[..1]));
            let named = json!([{"id": seats[0], "section": "vip", "row": 2, "seatNumber": "V-1"}]);
            assert_eq!(refused.body["seats"], named);
        }
        assert_eq!(counters(client, &map).await?, (json!(20), json!(19)));

        let rest =
            delete(client, &format!("/concerts/{concert}/seats?section=vip&firstRow=3&lastRow=3")).await?;
        assert_eq!((rest.status, &rest.body), (200, &json!({"deleted": 10})));
        assert_eq!(counters(client, &map).await?, (json!(10), json!(9)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_removal_selects_seats_by_section_rows_and_tier() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let seats = format!("/concerts/{concert}/seats");
        let front = &map["seats"][20]["ticketTierId"];
        for (query, invalid) in [
            ("", "section"),
            ("?section=vip&row=2", "row"),
            ("?section=vip&firstRow=2", "lastRow"),
            ("?section=%20", "section"),
            ("?ticketTierId=front", "ticketTierId"),
        ] {
            let refused = delete(client, &format!("{seats}{query}")).await?;
            assert_eq!(
                (refused.status, &refused.body["errors"][0]["field"]),
                (422, &json!(invalid)),
                "{query}"
            );
        }
        for query in ["section=VIP", "section=vip&firstRow=4&lastRow=9", "section=vip&ticketTierId=4711"] {
            let missing = delete(client, &format!("{seats}?{query}")).await?;
            assert_eq!((missing.status, missing.code()), (404, "not-found"), "{query}");
            assert_eq!(missing.body["detail"], "The concert has no such seats.");
        }
        let unknown =
            delete(client, "/concerts/00000000-0000-4000-8000-000000000000/seats?section=vip").await?;
        assert_eq!((unknown.status, &unknown.body["detail"]), (404, &json!("Unknown concert.")));
        assert_eq!(client.seat_map(0).await?.1["totalSeats"], 100);

        for (query, deleted, left) in [
            (format!("section=front&ticketTierId={front}&firstRow=1&lastRow=1"), 20, 80),
            ("section=ga&firstRow=5&lastRow=6".to_owned(), 24, 56),
            ("section=ga".to_owned(), 36, 20),
            (format!("ticketTierId={}", map["seats"][0]["ticketTierId"]), 20, 0),
        ] {
            let removed = delete(client, &format!("{seats}?{query}")).await?;
            assert_eq!((removed.status, &removed.body["deleted"]), (200, &json!(deleted)), "{query}");
            assert_eq!(client.seat_map(0).await?.1["totalSeats"], left);
        }
        assert_eq!(client.seat_map(1).await?.1["totalSeats"], 100);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_in_the_queue_of_a_removed_seat_is_rejected() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let ticket = client.create_booking("alice", &seats[..1]).await?;
        assert_eq!(delete(&client, &format!("/seats/{}", seats[0])).await?.status, 204);
        deployment.start_worker(&[]).await?;
        let status = client.final_status(ticket.location()?).await?;
        assert_eq!(status["problem"]["code"], "seats-not-found", "{status}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_removal_waits_for_a_sale_in_progress_and_removes_nothing() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let (concert, map) = client.seat_map(0).await?;
        let seats = client.seat_ids(0).await?;
        let tier = map["seats"][0]["ticketTierId"].as_i64().context("no tier")?;
        // The worker has locked the seat, and then waits for the tier.
        let holder = hold_tier(deployment, tier).await?;
        let ticket = client.create_booking("alice", &seats[..1]).await?;
        deployment.worker_waits_for_a_lock().await?;
        let removals = [format!("/seats/{}", seats[0]), format!("/concerts/{concert}/seats?section=vip")]
            .map(|path| {
                let client = client.clone();
                tokio::spawn(async move { delete(&client, &path).await })
            });
        api_sessions_wait_for_locks(deployment, 2).await?;
        holder.rollback().await?;
        assert_eq!(client.final_status(ticket.location()?).await?["status"], "confirmed");
        for removal in removals {
            let refused = removal.await??;
            assert_eq!((refused.status, refused.code()), (409, "has-sales"), "{refused:?}");
        }
        assert_eq!(client.seat_map(0).await?.1["totalSeats"], 100);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_ticket_type_is_deleted_unless_a_tier_has_it() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let balcony = created(client, "/ticket-types", &json!({"name": "Balcony"})).await?;
        let refused = delete(client, "/ticket-types/1").await?;
        assert_eq!((refused.status, refused.code()), (409, "in-use"), "{refused:?}");
        let path = format!("/ticket-types/{}", balcony["id"]);
        assert_eq!(delete(client, &path).await?.status, 204);
        let again = delete(client, &path).await?;
        assert_eq!((again.status, again.code()), (404, "not-found"));
        let types = client.get("/ticket-types").await?.body;
        assert_eq!(types.as_array().map(Vec::len), Some(3));
        created(client, "/ticket-types", &json!({"name": "Balcony"})).await?;
        Ok(())
    })
    .await
}
