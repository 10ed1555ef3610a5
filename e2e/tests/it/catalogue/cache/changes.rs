//! When a change is shown: at once by the instance that has made it, within a second by all.

use std::time::Instant;

use anyhow::{Context, Result};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup, wait_until};
use hyper::Method;
use serde_json::{Value, json};

use super::shows_within_a_second;
use crate::catalogue::{concert, created};

/// A concert with one tier.
async fn concert_with_tier(client: &Client) -> Result<(Value, Value)> {
    let folk = created(client, "/concerts", &concert()).await?;
    let tier = json!({"concertId": folk["id"], "ticketTypeId": 1, "price": "10.00"});
    let tier = created(client, "/ticket-tiers", &tier).await?;
    Ok((folk, tier))
}

fn path_of(concert: &Value) -> Result<String> {
    Ok(format!("/concerts/{}", concert["id"].as_str().context("no id")?))
}

#[tokio::test]
async fn an_instance_shows_its_own_changes_at_once_and_the_others_within_a_second() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 0, ..Setup::default() }, async |deployment| {
        let (client, other) = (deployment.client().clone(), deployment.apis[1].client.clone());
        let (mut folk, mut tier) = concert_with_tier(&client).await?;
        let (folk_path, tier_path) = (path_of(&folk)?, format!("/ticket-tiers/{}", tier["id"]));
        shows_within_a_second(&other, &tier_path, Instant::now(), |status, _| status == 200).await?;
        for change in 0..10 {
            folk["title"] = json!(format!("Folk Night {change}"));
            tier["price"] = json!(format!("{change}.50"));
            for (path, resource, body) in
                [("/concerts", &folk_path, &folk), ("/ticket-tiers", &tier_path, &tier)]
            {
                let changed = client.write(Method::PUT, path, body).await?;
                assert_eq!(changed.status, 200, "{changed:?}");
                let at = Instant::now();
                let read = client.get(resource).await?;
                assert_eq!((read.status, &read.body), (200, &changed.body));
                assert_eq!(read.header("etag"), changed.header("etag"));
                if change % 5 == 0 {
                    shows_within_a_second(&other, resource, at, |_, shown| *shown == changed.body).await?;
                }
            }
        }
        let seats = json!({"ticketTierId": tier["id"], "section": "balcony", "rows": 2, "seatsPerRow": 5});
        let added = client.write(Method::POST, &format!("{folk_path}/seats"), &seats).await?;
        assert_eq!(added.status, 201, "{added:?}");
        assert_eq!(client.get(&tier_path).await?.body["total"], 10);

        let deleted = client.write(Method::DELETE, &folk_path, &Value::Null).await?;
        assert_eq!(deleted.status, 204, "{deleted:?}");
        let at = Instant::now();
        for path in [&folk_path, &tier_path] {
            assert_eq!(client.get(path).await?.status, 404, "{path}");
            shows_within_a_second(&other, path, at, |status, _| status == 404).await?;
        }
        let listed = client.get("/concerts?limit=1000").await?.body;
        assert!(!listed.to_string().contains("Folk Night"), "{listed}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_change_by_sql_is_shown_within_a_second_of_its_commit() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (folk, tier) = concert_with_tier(&client).await?;
        let (folk_path, tier_path) = (path_of(&folk)?, format!("/ticket-tiers/{}", tier["id"]));
        let tier_id = i32::try_from(tier["id"].as_i64().context("no id")?)?;

        let rename = "UPDATE concerts SET title = 'Renamed' WHERE title = 'Folk Night'";
        sqlx::query(rename).execute(&deployment.pool).await?;
        let renamed = |_: u16, body: &Value| body["title"] == "Renamed";
        shows_within_a_second(&client, &folk_path, Instant::now(), renamed).await?;

        // Other changes are committed, and shown, between this one and its commit.
        let mut late = deployment.pool.begin().await?;
        let reprice = "UPDATE ticket_tiers SET price = 77 WHERE id = $1";
        sqlx::query(reprice).bind(tier_id).execute(&mut *late).await?;
        sqlx::query("INSERT INTO ticket_types (name) VALUES ('Early')").execute(&deployment.pool).await?;
        let is_early = |_: u16, body: &Value| body.to_string().contains("Early");
        shows_within_a_second(&client, "/ticket-types", Instant::now(), is_early).await?;
        assert_eq!(client.get(&tier_path).await?.body["price"], "10.00");
        late.commit().await?;
        let repriced = |_: u16, body: &Value| body["price"] == "77.00";
        shows_within_a_second(&client, &tier_path, Instant::now(), repriced).await?;

        sqlx::query("DELETE FROM ticket_types WHERE name = 'Early'").execute(&deployment.pool).await?;
        let is_gone = |_: u16, body: &Value| !body.to_string().contains("Early");
        shows_within_a_second(&client, "/ticket-types", Instant::now(), is_gone).await?;
        sqlx::query("UPDATE concerts SET hidden = true WHERE title = 'Renamed'")
            .execute(&deployment.pool)
            .await?;
        let at = Instant::now();
        for path in [&folk_path, &tier_path] {
            shows_within_a_second(&client, path, at, |status, _| status == 404).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_list_changes_when_a_concert_begins_although_nothing_is_written() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("SEED_ON_START", "false")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client().clone();
        for title in ["soon", "later"] {
            let mut body = concert();
            (body["title"], body["timeZone"]) = (json!(title), json!("UTC"));
            created(&client, "/concerts", &body).await?;
        }
        let begin = "UPDATE concerts SET (date, time) = (moment::date, moment::time) \
                     FROM (SELECT timezone('UTC', now()) + interval '3 seconds') soon (moment) WHERE title = 'soon' \
                     RETURNING begins_at";
        sqlx::query(begin).execute(&deployment.pool).await?;
        let first = |title: &'static str| move |_: u16, body: &Value| body["data"][0]["title"] == title;
        shows_within_a_second(&client, "/concerts", Instant::now(), first("soon")).await?;
        let has_begun = "SELECT begins_at <= now() FROM concerts WHERE title = 'soon'";
        wait_until("the concert begins", async || {
            client.get("/concerts").await?;
            let has_begun: bool = sqlx::query_scalar(has_begun).fetch_one(&deployment.pool).await?;
            Ok(has_begun.then_some(()))
        })
        .await?;
        shows_within_a_second(&client, "/concerts", Instant::now(), first("later")).await
    })
    .await
}

#[tokio::test]
async fn a_client_that_learns_of_its_sale_sees_it_in_the_tier_and_the_seat_map() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        shows_its_sale(deployment.client()).await?;
        // From here on instances learn of sales from the database.
        deployment.lose_announcements().await?;
        for _ in 0..5 {
            shows_its_sale(deployment.client()).await?;
        }
        Ok(())
    })
    .await
}

/// Books a free seat. The count of its tier, and the status of the seats, must show that at once.
async fn shows_its_sale(client: &Client) -> Result<()> {
    let (concert, map) = client.seat_map(0).await?;
    let seats = map["seats"].as_array().context("no seats")?;
    let seat = seats.iter().find(|seat| seat["isBooked"] == false).context("all are sold")?;
    let (tier, status) =
        (format!("/ticket-tiers/{}", seat["ticketTierId"]), format!("/seats/concert/{concert}/status"));
    let free = async || -> Result<[i64; 2]> {
        let (tier, status) = (client.get(&tier).await?.body, client.get(&status).await?.body);
        Ok([
            tier["available"].as_i64().context("no count")?,
            status["availableSeats"].as_i64().context("no count")?,
        ])
    };
    let before = free().await?;
    let booked = client.book_seats("alice", &[seat["id"].as_i64().context("no seat")?]).await?;
    assert_eq!(booked.status, 201, "{booked:?}");
    assert_eq!(free().await?, before.map(|count| count - 1));
    Ok(())
}
