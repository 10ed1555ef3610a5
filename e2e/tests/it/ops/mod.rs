//! What operators see and control: `/ops`.

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
