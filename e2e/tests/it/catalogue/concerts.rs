//! The catalogue endpoints, as an organizer uses them to create and manage concerts.

use anyhow::{Context, Result};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::{Value, json};

use super::concert;

fn with_empty_catalogue() -> Setup {
    Setup { variables: vec![("SEED_ON_START", "false")], ..Setup::default() }
}

async fn created(client: &Client, path: &str, body: Value) -> Result<Value> {
    let answer = client.write(Method::POST, path, &body).await?;
    assert_eq!(answer.status, 201, "{path}: {answer:?}");
    let location = client.get(answer.location()?).await?;
    assert_eq!(location.status, 200, "{path}: {answer:?}, {location:?}");
    Ok(answer.body)
}

#[tokio::test]
async fn a_concert_is_created_and_booked_over_http() -> Result<()> {
    Deployment::run(with_empty_catalogue(), async |deployment| {
        let client = deployment.client();
        assert_eq!(
            client.get("/concerts").await?.body,
            json!({"data": [], "page": 1, "limit": 10, "total": 0, "totalPages": 0})
        );

        let made = created(client, "/concerts", concert()).await?;
        let id = made["id"].as_str().context("no id")?;
        let mut expected = concert();
        expected["id"] = json!(id);
        expected["time"] = json!("18:30:00");
        expected["description"] = Value::Null;
        assert_eq!(made, expected);
        assert_eq!(client.get(&format!("/concerts/{id}")).await?.body, expected);

        let balcony = created(client, "/ticket-types", json!({"name": "Balcony"})).await?;
        assert_eq!(client.get("/ticket-types").await?.body, json!([balcony]));
        let tier = json!({
            "concertId": id, "ticketTypeId": balcony["id"], "price": "25.5", "total": 99, "available": 99,
        });
        let tier = created(client, "/ticket-tiers", tier).await?;
        assert_eq!(
            (&tier["price"], &tier["total"], &tier["available"]),
            (&json!("25.50"), &json!(0), &json!(0))
        );

        let path = format!("/concerts/{id}/seats");
        let block = json!({"ticketTierId": tier["id"], "section": "balcony", "rows": 2, "seatsPerRow": 3});
        let first = created(client, &path, block.clone()).await?;
        assert_eq!(
            (&first["created"], &first["firstSeatNumber"], &first["lastSeatNumber"]),
            (&json!(6), &json!("B-1"), &json!("B-6"))
        );
        let second = created(client, &path, block).await?;
        assert_eq!((&second["firstSeatNumber"], &second["tier"]["available"]), (&json!("B-7"), &json!(12)));

        let map = client.get(&format!("/seats/concert/{id}")).await?.body;
        assert_eq!(
            (&map["totalSeats"], &map["availableSeats"], &map["bookedSeats"]),
            (&json!(12), &json!(12), &json!(0))
        );
        let rows: Vec<&Value> =
            map["seats"].as_array().context("no seats")?.iter().map(|seat| &seat["row"]).collect();
        assert_eq!(rows, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
        assert_eq!(map["seats"][0]["section"], "balcony");
        assert!(map["seats"][0].get("bookedAt").is_none());

        let seats: Vec<i64> =
            map["seats"].as_array().into_iter().flatten().filter_map(|seat| seat["id"].as_i64()).collect();
        let booked = client.book_seats("alice", &seats[..2]).await?;
        assert_eq!(booked.body["ticketData"][0]["totalAmount"], "51.00", "{booked:?}");
        let free = client.get(&format!("/seats/concert/{id}/available")).await?.body;
        assert_eq!(free.as_array().map(Vec::len), Some(10));
        let tier = client.get(&format!("/ticket-tiers/{}", tier["id"])).await?.body;
        assert_eq!((&tier["total"], &tier["available"]), (&json!(12), &json!(10)));
        assert_eq!(client.get("/ticket-tiers/all").await?.body, json!([tier]));
        assert_eq!(client.get("/ticket-tiers").await?.body["data"], json!([tier]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tiers_and_concerts_with_sales_cannot_be_deleted() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let seat = map["seats"][0]["id"].as_i64().context("no seat")?;
        let tier = &map["seats"][0]["ticketTierId"];
        assert_eq!(client.book_seats("alice", &[seat]).await?.status, 201);

        let delete = async |path: String| client.write(Method::DELETE, &path, &Value::Null).await;
        for path in [format!("/concerts/{concert}"), format!("/ticket-tiers/{tier}")] {
            let answer = delete(path.clone()).await?;
            assert_eq!((answer.status, answer.code()), (409, "has-sales"), "{path}: {answer:?}");
        }
        assert_eq!(client.seat_map(0).await?.1["totalSeats"], 100);

        let unsold_tier = &map["seats"][99]["ticketTierId"];
        assert_eq!(delete(format!("/ticket-tiers/{unsold_tier}")).await?.status, 204);
        assert_eq!(client.seat_map(0).await?.1["totalSeats"], 40);
        let (unsold, _) = client.seat_map(1).await?;
        assert_eq!(delete(format!("/concerts/{unsold}")).await?.status, 204);
        let again = delete(format!("/concerts/{unsold}")).await?;
        assert_eq!((again.status, again.code()), (404, "not-found"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_sales_window_is_enforced_by_the_worker_and_shown_in_the_catalogue() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (id, map) = client.seat_map(0).await?;
        let seat = map["seats"][0]["id"].as_i64().context("no seat")?;
        let mut update = client.get(&format!("/concerts/{id}")).await?.body;

        update["salesOpenAt"] = json!("2099-01-01T00:00:00Z");
        let answer = client.write(Method::PUT, "/concerts", &update).await?;
        assert_eq!(
            (answer.status, &answer.body["salesOpenAt"]),
            (200, &json!("2099-01-01T00:00:00.000Z")),
            "{answer:?}"
        );
        let early = client.book_seats("alice", &[seat]).await?;
        assert_eq!((early.status, early.code()), (409, "sale-not-open"));
        assert_eq!(early.body["opensAt"], "2099-01-01T00:00:00.000Z");

        update["salesOpenAt"] = json!("2020-01-01T00:00:00Z");
        update["salesCloseAt"] = json!("2020-01-02T00:00:00Z");
        assert_eq!(client.write(Method::PUT, "/concerts", &update).await?.status, 200);
        let late = client.book_seats("alice", &[seat]).await?;
        assert_eq!((late.status, late.code()), (409, "sale-closed"));

        update["salesOpenAt"] = json!("2020-01-03T00:00:00Z");
        let reversed = client.write(Method::PUT, "/concerts", &update).await?;
        assert_eq!((reversed.status, reversed.code()), (422, "invalid-request"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_new_price_applies_only_to_later_sales() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let seats: Vec<i64> =
            map["seats"].as_array().into_iter().flatten().filter_map(|seat| seat["id"].as_i64()).collect();
        let before = client.book_seats("alice", &seats[..1]).await?;

        let change = json!({
            "id": map["seats"][0]["ticketTierId"], "concertId": concert, "ticketTypeId": 1, "price": 120,
        });
        assert_eq!(client.write(Method::PUT, "/ticket-tiers", &change).await?.body["price"], "120.00");
        let after = client.book_seats("bob", &seats[1..2]).await?;
        assert_eq!(after.body["ticketData"][0]["totalAmount"], "120.00");
        // The price of an earlier sale does not change.
        let status = client.get(before.location()?).await?;
        assert_eq!(status.body["booking"]["ticketData"][0]["totalAmount"], "100.00");
        Ok(())
    })
    .await
}
