//! What a concert can have only once: a tier of each ticket type, and each row of a section.

use anyhow::{Context, Result};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::{Value, json};

use super::created;

/// The tiers of a concert.
async fn tiers(client: &Client, concert: &str) -> Result<Vec<Value>> {
    let listed = client.get(&format!("/ticket-tiers?concertId={concert}")).await?;
    Ok(listed.body["data"].as_array().context("no tiers")?.clone())
}

#[tokio::test]
async fn a_concert_has_one_tier_of_each_ticket_type() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (concert, _) = client.seat_map(0).await?;
        let before = tiers(client, &concert).await?;
        let another = json!({"concertId": concert, "ticketTypeId": 1, "price": "1.00"});
        let refused = client.write(Method::POST, "/ticket-tiers", &another).await?;
        assert_eq!((refused.status, refused.code()), (409, "already-exists"));
        let detail = refused.body["detail"].as_str().context("no detail")?;
        assert!(detail.contains(&format!("tier {}", before[0]["id"])), "{detail}");

        let mut changed = before[1].clone();
        changed["ticketTypeId"] = json!(1);
        let refused = client.write(Method::PUT, "/ticket-tiers", &changed).await?;
        assert_eq!((refused.status, refused.code()), (409, "already-exists"), "{refused:?}");
        assert_eq!(tiers(client, &concert).await?, before);

        let balcony = created(client, "/ticket-types", &json!({"name": "Balcony"})).await?;
        changed["ticketTypeId"] = balcony["id"].clone();
        assert_eq!(client.write(Method::PUT, "/ticket-tiers", &changed).await?.status, 200);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn concurrent_requests_create_one_tier_of_a_ticket_type() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, _) = client.seat_map(0).await?;
        let balcony = created(&client, "/ticket-types", &json!({"name": "Balcony"})).await?;
        let tier = json!({"concertId": concert, "ticketTypeId": balcony["id"], "price": "1.00"});
        let attempts: Vec<_> = (0..10)
            .map(|_| {
                let (client, tier) = (client.clone(), tier.clone());
                tokio::spawn(async move { client.write(Method::POST, "/ticket-tiers", &tier).await })
            })
            .collect();
        let mut statuses = Vec::new();
        for attempt in attempts {
            statuses.push(attempt.await??.status);
        }
        statuses.sort_unstable();
        assert_eq!((statuses[0], &statuses[1..]), (201, &[409; 9][..]));
        assert_eq!(tiers(&client, &concert).await?.len(), 4);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn duplicate_tiers_of_earlier_versions_can_be_changed_and_deleted() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (concert, _) = client.seat_map(0).await?;
        sqlx::query(
            "INSERT INTO ticket_tiers (concert_id, ticket_type_id, price, is_duplicate) \
             SELECT $1::uuid, 1, 1, true FROM generate_series(1, 2)",
        )
        .bind(&concert)
        .execute(&deployment.pool)
        .await?;
        let found = tiers(client, &concert).await?;
        let (oldest, mut duplicate) = (found[0].clone(), found[3].clone());
        let put = async |tier: &Value| client.write(Method::PUT, "/ticket-tiers", tier).await;
        duplicate["price"] = json!("2.00");
        assert_eq!((put(&duplicate).await?.status, put(&oldest).await?.status), (200, 200));
        let balcony = created(client, "/ticket-types", &json!({"name": "Balcony"})).await?;
        duplicate["ticketTypeId"] = balcony["id"].clone();
        assert_eq!(put(&duplicate).await?.status, 200);
        // A tier that is no duplicate any more cannot become one again.
        duplicate["ticketTypeId"] = json!(1);
        assert_eq!(put(&duplicate).await?.code(), "already-exists");
        duplicate["ticketTypeId"] = json!(2);
        assert_eq!(put(&duplicate).await?.code(), "already-exists");

        // The other duplicate still has the type.
        let path = format!("/ticket-tiers/{}", oldest["id"]);
        assert_eq!(client.write(Method::DELETE, &path, &Value::Null).await?.status, 204);
        let another = json!({"concertId": concert, "ticketTypeId": 1, "price": "1.00"});
        assert_eq!(client.write(Method::POST, "/ticket-tiers", &another).await?.code(), "already-exists");
        let path = format!("/ticket-tiers/{}", found[4]["id"]);
        assert_eq!(client.write(Method::DELETE, &path, &Value::Null).await?.status, 204);
        assert_eq!(client.write(Method::POST, "/ticket-tiers", &another).await?.status, 201);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn rows_that_a_section_has_are_not_added_again() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let path = format!("/concerts/{concert}/seats");
        let (vip, front) = (&map["seats"][0]["ticketTierId"], &map["seats"][20]["ticketTierId"]);
        // The section has the rows 2 and 3.
        for (tier, first, rows, existing) in
            [(vip, 2, 1, 2), (vip, 1, 2, 2), (vip, 3, 5, 3), (front, 1, 9, 2)]
        {
            let block = json!({
                "ticketTierId": tier, "section": "vip", "rows": rows, "seatsPerRow": 1, "firstRow": first,
            });
            let refused = client.write(Method::POST, &path, &block).await?;
            assert_eq!((refused.status, refused.code()), (409, "already-exists"), "{block}");
            let detail = refused.body["detail"].as_str().context("no detail")?;
            let expected = format!("Section vip already has a row {existing}, and nothing was added.");
            assert!(detail.starts_with(&expected) && detail.contains("row 3, its last"), "{detail}");
        }
        assert_eq!(client.seat_map(0).await?.1["totalSeats"], 100);
        for (section, first) in [("vip", Some(1)), ("vip", Some(4)), ("vip", None), ("stalls", Some(2))] {
            let mut block = json!({"ticketTierId": vip, "section": section, "rows": 1, "seatsPerRow": 1});
            if let Some(first) = first {
                block["firstRow"] = json!(first);
            }
            created(client, &path, &block).await?;
        }
        let map = client.seat_map(0).await?.1;
        let rows: Vec<&Value> =
            map["seats"].as_array().context("no seats")?[100..].iter().map(|seat| &seat["row"]).collect();
        assert_eq!(rows, [1, 4, 5, 2]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn concurrent_requests_add_the_same_row_once() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, map) = client.seat_map(0).await?;
        let attempts: Vec<_> = [0, 20, 40]
            .into_iter()
            .cycle()
            .take(9)
            .map(|seat| {
                let (client, path) = (client.clone(), format!("/concerts/{concert}/seats"));
                // The tiers differ.
                let tier = &map["seats"][seat]["ticketTierId"];
                let block = json!({
                    "ticketTierId": tier, "section": "hall", "rows": 2, "seatsPerRow": 5, "firstRow": 1,
                    "prefix": format!("H{seat}"),
                });
                tokio::spawn(async move { client.write(Method::POST, &path, &block).await })
            })
            .collect();
        let mut statuses = Vec::new();
        for attempt in attempts {
            statuses.push(attempt.await??.status);
        }
        statuses.sort_unstable();
        assert_eq!((statuses[0], &statuses[1..]), (201, &[409; 8][..]));
        assert_eq!(client.seat_map(0).await?.1["totalSeats"], 110);
        Ok(())
    })
    .await
}
