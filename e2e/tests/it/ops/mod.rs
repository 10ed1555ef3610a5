//! What operators see and control: `/ops`.

mod concert_changes;
mod concert_controls;
mod concert_limit;
mod controls;
mod dead_letters;
mod limit;
mod page;
mod state;

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::{ADMIN_TOKEN, ApiResponse, Client};
use hyper::Method;
use serde_json::{Value, json};

/// Reads as an administrator.
async fn get(client: &Client, path: &str) -> Result<ApiResponse> {
    Client::send(client.request(Method::GET, path).bearer_auth(ADMIN_TOKEN)).await
}

/// The revision of the controls that this instance obeys.
async fn revision(client: &Client) -> Result<i64> {
    let controls = get(client, "/ops/controls").await?;
    controls.body["revision"].as_i64().with_context(|| format!("{controls:?}"))
}

/// The body of a change.
fn change(revision: i64, is_paused: bool, limit: Option<u32>) -> Value {
    json!({"intakePaused": is_paused, "acceptPerSecond": limit, "revision": revision, "reason": "a test"})
}

/// Changes the controls, and returns the new ones.
async fn set_controls(client: &Client, is_paused: bool, limit: Option<u32>) -> Result<Value> {
    let body = change(revision(client).await?, is_paused, limit);
    let changed = client.write(Method::PUT, "/ops/controls", &body).await?;
    ensure!(changed.status == 200, "{changed:?}");
    Ok(changed.body)
}

/// Where the controls of a concert are changed.
fn concert_path(concert: &str) -> String {
    format!("/ops/controls/concerts/{concert}")
}

/// The body of a change of a concert's controls.
fn concert_change(revision: i64, is_paused: bool, limit: Option<u32>) -> Value {
    json!({"paused": is_paused, "acceptPerSecond": limit, "revision": revision, "reason": "a test"})
}

/// Changes the controls of a concert, and returns all new ones.
async fn set_concert_controls(
    client: &Client,
    concert: &str,
    is_paused: bool,
    limit: Option<u32>,
) -> Result<Value> {
    let body = concert_change(revision(client).await?, is_paused, limit);
    let changed = client.write(Method::PUT, &concert_path(concert), &body).await?;
    ensure!(changed.status == 200, "{changed:?}");
    Ok(changed.body)
}
