//! Bookings of seats that an instance knows to be sold are rejected without a ticket.

mod keys;
mod knowledge;
mod responses;

use anyhow::{Result, ensure};
use hamro_e2e::client::{ApiResponse, Client};
use hamro_e2e::deployment::Api;
use hamro_e2e::{Metrics, wait_until};

/// Whether a booking was rejected without a ticket.
fn is_early(response: &ApiResponse) -> bool {
    response.status == 409 && response.header("location").is_none()
}

/// Books these seats until they are rejected without a ticket.
async fn rejected_early(client: &Client, seats: &[i64]) -> Result<ApiResponse> {
    wait_until("the seats are known to be sold", async || {
        let response = client.create_booking("mallory", seats).await?;
        ensure!(response.status == 202 || is_early(&response), "{response:?}");
        Ok(is_early(&response).then_some(response))
    })
    .await
}

/// Sells these seats, and waits until the instance knows that.
pub async fn sold(client: &Client, seats: &[i64]) -> Result<()> {
    let booked = client.book_seats("alice", seats).await?;
    ensure!(booked.status == 201, "{booked:?}");
    rejected_early(client, seats).await.map(drop)
}

/// Waits until the metrics are as expected. They are a quarter of a second old at most.
async fn shown(api: &mut Api, what: &str, is_shown: impl Fn(&Metrics) -> bool) -> Result<()> {
    wait_until(what, async || Ok(is_shown(&api.process.metrics().await?).then_some(()))).await
}
