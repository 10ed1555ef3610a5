//! The catalogue while Postgres does not respond.

use std::time::Instant;

use anyhow::{Context, Result};
use hamro_e2e::{Deployment, Setup, wait_until};
use serde_json::json;

use super::{documents, shows_within_a_second};

#[tokio::test]
async fn without_postgres_the_last_bodies_are_served_with_their_age_and_afterwards_current_ones() -> Result<()>
{
    let setup = Setup { apis: 0, workers: 0, expects_errors: true, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let (proxy, url) = deployment.database_behind_proxy().await?;
        let api = deployment.start_api(&[("DATABASE_URL", &url)]).await?;
        let client = deployment.apis[api].client.clone();
        let documents = documents(&client).await?;
        let mut before = Vec::new();
        for path in &documents {
            let read = client.get(path).await?;
            assert_eq!((read.status, read.header("age")), (200, None), "{path}");
            before.push(read);
        }
        proxy.drop_requests();
        wait_until("the response has an age", async || {
            let read = client.get("/concerts").await?;
            assert_eq!(read.status, 200, "{read:?}");
            Ok(read.header("age").map(|_| ()))
        })
        .await?;
        for (path, before) in documents.iter().zip(&before) {
            let read = client.get(path).await?;
            assert_eq!((read.status, &read.body), (200, &before.body), "{path}");
            assert_eq!(read.header("etag"), before.header("etag"));
            let age: u64 = read.header("age").with_context(|| path.clone())?.parse()?;
            assert!((1..60).contains(&age), "{path}: {age}");
        }
        // What was never read is not known.
        let unknown = client.get("/concerts?limit=3").await?;
        assert_eq!((unknown.status, unknown.code()), (503, "database-unavailable"), "{unknown:?}");
        assert!(unknown.header("retry-after").is_some());

        let rename = "UPDATE concerts SET title = 'Renamed'";
        sqlx::query(rename).execute(&deployment.pool).await?;
        proxy.cut();
        wait_until("Postgres is back", async || {
            Ok((client.get("/concerts").await?.header("age").is_none()).then_some(()))
        })
        .await?;
        let renamed = |_: u16, body: &serde_json::Value| body["data"][0]["title"] == json!("Renamed");
        shows_within_a_second(&client, "/concerts", Instant::now(), renamed).await
    })
    .await
}
