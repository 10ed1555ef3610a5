//! The reads of the catalogue, which are served from memory.

mod changes;
mod costs;
mod outage;
mod representations;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::Client;
use hamro_e2e::wait_until;
use serde_json::Value;

/// Waits until the document shows this, which was committed at `since`. A request that was sent more than a second later
/// must.
async fn shows_within_a_second(
    client: &Client,
    path: &str,
    since: Instant,
    is_shown: impl Fn(u16, &Value) -> bool,
) -> Result<()> {
    wait_until(&format!("{path} shows the change"), async || {
        let sent = since.elapsed();
        let response = client.get(path).await?;
        let is_shown = is_shown(response.status, &response.body);
        ensure!(is_shown || sent <= Duration::from_secs(1), "{path} after {sent:?}: {response:?}");
        Ok(is_shown.then_some(()))
    })
    .await
}

/// The documents of the catalogue that involve the first demo concert.
async fn documents(client: &Client) -> Result<Vec<String>> {
    let concerts = client.get("/concerts").await?;
    let concert = concerts.body["data"][0]["id"].as_str().context("no concert")?.to_owned();
    let tiers = client.get(&format!("/ticket-tiers?concertId={concert}")).await?;
    let tier = &tiers.body["data"][0]["id"];
    Ok(vec![
        "/concerts".to_owned(),
        "/concerts?page=1&limit=2".to_owned(),
        format!("/concerts/{concert}"),
        "/ticket-tiers".to_owned(),
        format!("/ticket-tiers?concertId={concert}"),
        "/ticket-tiers/all".to_owned(),
        format!("/ticket-tiers/{tier}"),
        "/ticket-types".to_owned(),
    ])
}
