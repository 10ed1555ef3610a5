//! Labels of seats: unique in a concert, and on tickets and problems as they were when the booking was decided.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::{Value, json};

async fn created(client: &Client, path: &str, body: Value) -> Result<Value> {
    let answer = client.write(Method::POST, path, &body).await?;
    assert_eq!(answer.status, 201, "{path}: {answer:?}");
    Ok(answer.body)
}

/// Creates a concert with two tiers. Returns its id and theirs.
async fn concert_with_tiers(client: &Client) -> Result<(String, Vec<Value>)> {
    let concert = json!({
        "title": "Folk Night", "artist": "Kutumba", "date": "2099-03-01", "time": "18:30", "venue": "Patan Durbar",
        "city": "Lalitpur", "image": "https://example.com/folk.jpg",
    });
    let id = created(client, "/concerts", concert).await?["id"].as_str().context("no id")?.to_owned();
    let mut tiers = Vec::new();
    for ticket_type in [1, 2] {
        let tier = json!({"concertId": id, "ticketTypeId": ticket_type, "price": "10.00"});
        tiers.push(created(client, "/ticket-tiers", tier).await?["id"].clone());
    }
    Ok((id, tiers))
}

#[tokio::test]
async fn seats_of_different_tiers_have_different_labels_even_if_they_are_added_at_once() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (id, tiers) = concert_with_tiers(client).await?;
        let path = format!("/concerts/{id}/seats");
        let blocks = (0..8).map(|n| {
            let section = format!("vip {n}");
            let block =
                json!({"ticketTierId": tiers[n % 2], "section": section, "rows": 2, "seatsPerRow": 5});
            created(client, &path, block)
        });
        let added = try_join_all(blocks).await?;
        let map = client.get(&format!("/seats/concert/{id}")).await?.body;
        let seats = map["seats"].as_array().context("no seats")?;
        let mut labels: Vec<&str> = seats.iter().filter_map(|seat| seat["seatNumber"].as_str()).collect();
        labels.sort_by_key(|label| (label.len(), *label));
        let expected: Vec<String> = (1..=80).map(|n| format!("V-{n}")).collect();
        assert_eq!(labels, expected);
        let mut first: Vec<&str> =
            added.iter().filter_map(|block| block["firstSeatNumber"].as_str()).collect();
        first.sort_by_key(|label| (label.len(), *label));
        assert_eq!(first, ["V-1", "V-11", "V-21", "V-31", "V-41", "V-51", "V-61", "V-71"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn new_labels_continue_beside_labels_that_were_written_by_hand() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (id, tiers) = concert_with_tiers(client).await?;
        let block = json!({"ticketTierId": tiers[0], "section": "vip", "rows": 1, "seatsPerRow": 3});
        let path = format!("/concerts/{id}/seats");
        created(client, &path, block.clone()).await?;
        for (from, to) in [("V-1", "V-12A"), ("V-2", "V-99999999999")] {
            sqlx::query("UPDATE seats SET seat_number = $2 WHERE concert_id::text = $3 AND seat_number = $1")
                .bind(from)
                .bind(to)
                .bind(&id)
                .execute(&deployment.pool)
                .await?;
        }
        assert_eq!(created(client, &path, block).await?["firstSeatNumber"], "V-4");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_renamed_seat_keeps_its_label_on_tickets_and_problems_that_are_final() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client();
        let (_, map) = client.seat_map(0).await?;
        let id = |n: usize| map["seats"][n]["id"].as_i64().context("no seat");
        let label = |n: usize, number: &str| -> Result<Value> {
            Ok(json!({"id": id(n)?, "section": "vip", "row": 2, "seatNumber": number}))
        };
        let booked = client.book_seats("alice", &[id(1)?, id(0)?]).await?;
        assert_eq!(booked.body["seats"], json!([label(1, "V-2")?, label(0, "V-1")?]), "{booked:?}");

        let refused = client.book_seats("bob", &[id(0)?, id(1)?, id(2)?]).await?;
        assert_eq!((refused.status, refused.code()), (409, "seats-taken"));
        assert_eq!(refused.body["detail"], "Seats V-1 and V-2 are already taken. Choose other seats.");
        assert_eq!(refused.body["seats"], json!([label(0, "V-1")?, label(1, "V-2")?]));
        assert_eq!(refused.body["seatIds"], json!([id(0)?, id(1)?]));

        sqlx::raw_sql("UPDATE seats SET seat_number = 'X-' || id, section = 'renamed', \"row\" = 99")
            .execute(&deployment.pool)
            .await?;
        // A new instance has no outcome in memory.
        let other = deployment.start_api(&[]).await?;
        let other = &deployment.apis[other].client;
        let status = other.final_status(booked.location()?).await?;
        assert_eq!(status["booking"], booked.body);
        let status = other.final_status(refused.location()?).await?;
        assert_eq!(status["problem"], refused.body);
        Ok(())
    })
    .await
}
