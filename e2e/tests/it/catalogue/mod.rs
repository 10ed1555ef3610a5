//! The catalogue: `/concerts`, `/ticket-types`, `/ticket-tiers`, and the writes to `/seats`.

mod cache;
mod concert_times;
mod concerts;
mod duplicates;
mod preconditions;
mod removal;
mod retries;
mod test_concerts;
mod updates;
mod writes;

use anyhow::Result;
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, wait_until};
use hyper::Method;
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};

/// A valid concert.
fn concert() -> Value {
    json!({
        "title": "Folk Night", "artist": "Kutumba", "date": "2099-03-01", "time": "18:30", "venue": "Patan Durbar",
        "city": "Lalitpur", "image": "https://example.com/folk.jpg",
    })
}

/// Creates a resource, and returns it.
async fn created(client: &Client, path: &str, body: &Value) -> Result<Value> {
    let response = client.write(Method::POST, path, body).await?;
    assert_eq!(response.status, 201, "{path}: {response:?}");
    Ok(response.body)
}

/// Waits until this number of the api's database sessions wait for a lock.
async fn api_sessions_wait_for_locks(deployment: &Deployment, number: i64) -> Result<()> {
    wait_until("sessions of the api wait for a lock", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
             AND datname = current_database() AND application_name LIKE 'hamro-api%'",
        )
        .fetch_one(&deployment.pool)
        .await?;
        Ok((waiting == number).then_some(()))
    })
    .await
}

/// Locks a tier, which workers and deletions change last, until the returned transaction ends.
async fn hold_tier(deployment: &Deployment, tier: i64) -> Result<Transaction<'static, Postgres>> {
    let mut holder = deployment.pool.begin().await?;
    sqlx::query("SELECT FROM ticket_tiers WHERE id = $1 FOR UPDATE")
        .bind(i32::try_from(tier)?)
        .execute(&mut *holder)
        .await?;
    Ok(holder)
}
