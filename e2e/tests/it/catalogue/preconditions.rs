//! `ETag` and `If-Match`: two administrators do not overwrite each other's changes.

use anyhow::{Context, Result};
use hamro_e2e::client::{ADMIN_TOKEN, ApiResponse, Client};
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::{Value, json};

use super::{api_sessions_wait_for_locks, concert, created};

/// A write with `If-Match`.
async fn write_if(
    client: &Client,
    method: Method,
    path: &str,
    if_match: &str,
    body: &Value,
) -> Result<ApiResponse> {
    let request = client.request(method, path).bearer_auth(ADMIN_TOKEN).header("If-Match", if_match);
    Client::send(request.json(body)).await
}

fn tag(response: &ApiResponse) -> Result<String> {
    let tag = response.header("etag").with_context(|| format!("no ETag: {response:?}"))?;
    assert!(tag.starts_with('"'), "{tag} is weak");
    Ok(tag.to_owned())
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

/// The path of the resource, and the body of a `PUT` that changes it.
async fn changeable(client: &Client) -> Result<[(&'static str, String, Value); 2]> {
    let folk = created(client, "/concerts", &concert()).await?;
    let tier = json!({"concertId": folk["id"], "ticketTypeId": 1, "price": "10.00"});
    let tier = created(client, "/ticket-tiers", &tier).await?;
    let concert_path = format!("/concerts/{}", folk["id"].as_str().context("no id")?);
    let tier_path = format!("/ticket-tiers/{}", tier["id"]);
    Ok([
        ("/concerts", concert_path, with(folk, "title", json!("Folk Morning"))),
        ("/ticket-tiers", tier_path, with(tier, "price", json!("12.00"))),
    ])
}

#[tokio::test]
async fn of_two_changes_of_the_same_version_exactly_one_is_made() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        for (path, resource, body) in changeable(&client).await? {
            let read = tag(&client.get(&resource).await?)?;
            // Both requests have arrived before either can read the row.
            let mut holder = deployment.pool.begin().await?;
            sqlx::query("SELECT FROM concerts FOR UPDATE").execute(&mut *holder).await?;
            sqlx::query("SELECT FROM ticket_tiers FOR UPDATE").execute(&mut *holder).await?;
            let changes = ["one", "other"].map(|administrator| {
                let (client, read) = (client.clone(), read.clone());
                let body = match path {
                    "/concerts" => with(body.clone(), "city", json!(administrator)),
                    _ => with(body.clone(), "price", json!(administrator.len())),
                };
                tokio::spawn(async move { write_if(&client, Method::PUT, path, &read, &body).await })
            });
            api_sessions_wait_for_locks(deployment, 2).await?;
            holder.rollback().await?;
            let mut statuses = Vec::new();
            for change in changes {
                let response = change.await??;
                if response.status == 412 {
                    assert_eq!(response.code(), "precondition-failed");
                }
                statuses.push(response.status);
            }
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 412], "{path}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn if_match_is_compared_as_rfc_9110_defines() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        for (path, resource, body) in changeable(client).await? {
            let stale = tag(&client.get(&resource).await?)?;
            let first = write_if(client, Method::PUT, path, &stale, &body).await?;
            assert_eq!(first.status, 200, "{first:?}");
            let current = tag(&first)?;
            assert_ne!(current, stale);
            for (if_match, status) in [
                (stale.clone(), 412),
                (format!("W/{current}"), 412),
                (format!("\"other\", {current}"), 200),
                ("*".to_owned(), 200),
                (current.trim_matches('"').to_owned(), 400),
                ("*, \"other\"".to_owned(), 400),
                (String::new(), 400),
            ] {
                let response = write_if(client, Method::PUT, path, &if_match, &body).await?;
                assert_eq!(response.status, status, "{path} {if_match}: {response:?}");
            }
            let unknown = match path {
                "/concerts" => json!("00000000-0000-4000-8000-000000000000"),
                _ => json!(4711),
            };
            let missing = write_if(client, Method::PUT, path, &stale, &with(body, "id", unknown)).await?;
            assert_eq!(missing.status, 404, "{missing:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_the_version_that_if_match_names_is_deleted() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let [folk, tier] = changeable(client).await?;
        let test = created(client, "/concerts", &with(concert(), "test", json!(true))).await?;
        let test_path = format!("/concerts/{}", test["id"].as_str().context("no id")?);
        let test = ("/concerts", test_path, with(test, "title", json!("Folk Evening")));
        for (path, resource, body) in [tier, folk, test] {
            let stale = tag(&client.get(&resource).await?)?;
            let current = tag(&client.write(Method::PUT, path, &body).await?)?;
            let refused = write_if(client, Method::DELETE, &resource, &stale, &Value::Null).await?;
            assert_eq!((refused.status, refused.code()), (412, "precondition-failed"), "{resource}");
            let malformed = write_if(client, Method::DELETE, &resource, "current", &Value::Null).await?;
            assert_eq!((malformed.status, malformed.code()), (400, "malformed-request"), "{resource}");
            let deleted = write_if(client, Method::DELETE, &resource, &current, &Value::Null).await?;
            assert_eq!(deleted.status, 204, "{resource}: {deleted:?}");
            let again = write_if(client, Method::DELETE, &resource, &current, &Value::Null).await?;
            assert_eq!(again.status, 404, "{resource}: {again:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_sale_changes_the_tag_of_its_tier_but_prevents_no_change_of_the_tier() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let (_, map) = client.seat_map(0).await?;
        let path = format!("/ticket-tiers/{}", map["seats"][0]["ticketTierId"]);
        let before = client.get(&path).await?;
        let read = tag(&before)?;
        let known = async || {
            let request = client.request(Method::GET, &path).header("If-None-Match", &read);
            Client::send(request).await
        };
        assert_eq!(known().await?.status, 304);
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        let after = known().await?;
        assert_eq!((after.status, &after.body["available"]), (200, &json!(19)));
        assert_ne!(tag(&after)?, read);

        let change = with(before.body.clone(), "price", json!("120.00"));
        let changed = write_if(client, Method::PUT, "/ticket-tiers", &read, &change).await?;
        assert_eq!((changed.status, &changed.body["price"]), (200, &json!("120.00")), "{changed:?}");
        let again = write_if(client, Method::PUT, "/ticket-tiers", &read, &change).await?;
        assert_eq!(again.status, 412, "{again:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_response_with_a_resource_has_its_tag_which_permits_a_change_in_every_encoding() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let other = deployment.start_api(&[]).await?;
        let other = deployment.apis[other].client.clone();
        let client = deployment.client();
        for (path, resource, body) in changeable(client).await? {
            let changed = client.write(Method::PUT, path, &body).await?;
            let read = client.get(&resource).await?;
            assert_eq!(read.header("cache-control"), Some("no-cache"));
            let tags = [tag(&changed)?, tag(&read)?, tag(&other.get(&resource).await?)?];
            assert!(tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
            for encoding in ["gzip", "br"] {
                let accepted = format!("{encoding}, identity;q=0");
                let read = client.request(Method::GET, &resource).header("Accept-Encoding", &accepted);
                let read = Client::send(read).await?;
                assert_eq!(read.header("content-encoding"), Some(encoding));
                let tag = tag(&read)?;
                assert_ne!(tag, tags[0]);
                let change = write_if(client, Method::PUT, path, &tag, &body).await?;
                assert_eq!(change.status, 200, "{change:?}");
            }
            let stale = format!("\"{}-br\"", "0".repeat(tags[0].len() - 2));
            assert_eq!(write_if(client, Method::PUT, path, &stale, &body).await?.status, 412);
        }
        let made = client.write(Method::POST, "/concerts", &concert()).await?;
        assert_eq!(tag(&made)?, tag(&client.get(made.location()?).await?)?);
        let tier = json!({"concertId": made.body["id"], "ticketTypeId": 1, "price": 1});
        let made = client.write(Method::POST, "/ticket-tiers", &tier).await?;
        assert_eq!(tag(&made)?, tag(&client.get(made.location()?).await?)?);
        Ok(())
    })
    .await
}
