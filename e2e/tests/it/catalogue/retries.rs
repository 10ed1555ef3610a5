//! Retries of requests that create something, with an `Idempotency-Key`.

use anyhow::{Context, Result};
use hamro_e2e::client::{ADMIN_TOKEN, Client};
use hamro_e2e::{Deployment, Setup, tables};
use hamro_verification::http::HttpResponse;
use hyper::Method;
use serde_json::{Value, json};

use super::concert;

async fn create(client: &Client, path: &str, key: &str, body: &Value) -> Result<HttpResponse> {
    let request = client.request(Method::POST, path).bearer_auth(ADMIN_TOKEN);
    Ok(request.header("Idempotency-Key", key).json(body).send().await?)
}

/// What a client sees of a response, except for the headers that differ per request.
fn seen(response: &HttpResponse) -> (u16, Option<&str>, Option<&str>, Option<&str>, &[u8]) {
    let header = |name: &'static str| response.header(name);
    (response.status, header("location"), header("etag"), header("content-type"), &response.body[..])
}

fn code(response: &HttpResponse) -> Result<String> {
    let problem: Value = response.json()?;
    Ok(problem["code"].as_str().context("no code")?.to_owned())
}

/// The number of rows that creations add.
async fn rows(deployment: &Deployment) -> Result<i64> {
    let mut rows = 0;
    for table in ["concerts", "ticket_types", "ticket_tiers", "seats"] {
        rows += tables::count(&deployment.pool, table).await?;
    }
    Ok(rows)
}

/// One request of each kind that creates something.
async fn creations(client: &Client) -> Result<[(String, Value); 4]> {
    let (id, map) = client.seat_map(0).await?;
    let made = client.write(Method::POST, "/concerts", &concert()).await?;
    let block = json!({"ticketTierId": map["seats"][0]["ticketTierId"], "section": "vip", "rows": 2, "seatsPerRow": 3});
    let tier = json!({"concertId": made.body["id"], "ticketTypeId": 1, "price": "10.00"});
    Ok([
        ("/concerts".to_owned(), concert()),
        ("/ticket-types".to_owned(), json!({"name": "Balcony"})),
        ("/ticket-tiers".to_owned(), tier),
        (format!("/concerts/{id}/seats"), block),
    ])
}

#[tokio::test]
async fn a_retry_gets_the_same_response_and_creates_nothing() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let other = deployment.start_api(&[]).await?;
        let other = deployment.apis[other].client.clone();
        let client = deployment.client();
        for (path, body) in creations(client).await? {
            let first = create(client, &path, "key 1", &body).await?;
            assert_eq!(first.status, 201, "{path}: {first:?}");
            let before = rows(deployment).await?;
            for (client, key) in [(client, "key 1"), (&other, "\"key 1\"")] {
                let retry = create(client, &path, key, &body).await?;
                assert_eq!(seen(&retry), seen(&first), "{path}");
            }
            assert_eq!(rows(deployment).await?, before, "{path}");
            sqlx::query("DELETE FROM creation_keys").execute(&deployment.pool).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn concurrent_requests_with_one_key_create_once() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        for (number, (path, body)) in creations(&client).await?.into_iter().enumerate() {
            let before = rows(deployment).await?;
            let attempts: Vec<_> = (0..10)
                .map(|_| {
                    let (client, path, body) = (client.clone(), path.clone(), body.clone());
                    tokio::spawn(async move { create(&client, &path, &format!("key-{number}"), &body).await })
                })
                .collect();
            let mut responses = Vec::new();
            for attempt in attempts {
                responses.push(attempt.await??);
            }
            for response in &responses {
                assert_eq!(seen(response), seen(&responses[0]), "{path}");
            }
            assert_eq!(responses[0].status, 201, "{path}: {:?}", responses[0]);
            let added = rows(deployment).await? - before;
            assert_eq!(added, if path.ends_with("/seats") { 6 } else { 1 }, "{path}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_cannot_be_used_for_another_request() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let creations = creations(client).await?;
        let (path, body) = &creations[0];
        assert_eq!(create(client, path, "k1", body).await?.status, 201);
        let before = rows(deployment).await?;
        let mut other = body.clone();
        other["title"] = json!("Another Night");
        let reused = create(client, path, "k1", &other).await?;
        assert_eq!((reused.status, code(&reused)?.as_str()), (422, "idempotency-key-reused"));
        for (path, body) in &creations[1..] {
            let reused = create(client, path, "k1", body).await?;
            assert_eq!((reused.status, code(&reused)?.as_str()), (422, "idempotency-key-reused"), "{path}");
        }
        let invalid = create(client, path, "", body).await?;
        let problem: Value = invalid.json()?;
        assert_eq!((invalid.status, &problem["errors"][0]["field"]), (422, &json!("Idempotency-Key")));
        assert_eq!(rows(deployment).await?, before);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_request_that_fails_holds_no_key() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (id, map) = client.seat_map(0).await?;
        let path = format!("/concerts/{id}/seats");
        let tier = &map["seats"][0]["ticketTierId"];
        let block = |row: i32| json!({"ticketTierId": tier, "section": "vip", "rows": 1, "seatsPerRow": 2, "firstRow": row});
        assert_eq!(create(client, &path, "k1", &block(2)).await?.status, 409);
        let name = json!({"name": "VIP"});
        assert_eq!(create(client, "/ticket-types", "k1", &name).await?.status, 409);
        assert_eq!(create(client, &path, "k1", &block(9)).await?.status, 201);
        assert_eq!(create(client, &path, "k1", &block(9)).await?.status, 201);
        assert_eq!(client.seat_map(0).await?.1["totalSeats"], 102);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_key_expires_after_a_day_and_is_deleted_by_a_later_request() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        for key in ["k1", "k2"] {
            assert_eq!(create(client, "/concerts", key, &concert()).await?.status, 201);
        }
        sqlx::query("UPDATE creation_keys SET created_at = created_at - interval '24 hours'")
            .execute(&deployment.pool)
            .await?;
        let before = tables::count(&deployment.pool, "concerts").await?;
        let mut other = concert();
        other["title"] = json!("Another Night");
        assert_eq!(create(client, "/concerts", "k1", &other).await?.status, 201);
        assert_eq!(tables::count(&deployment.pool, "concerts").await?, before + 1);
        assert_eq!(tables::count(&deployment.pool, "creation_keys").await?, 1);
        Ok(())
    })
    .await
}
