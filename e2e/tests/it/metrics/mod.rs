//! What the programs export for Prometheus.

mod access;
mod counts;
mod format;
mod labels;
mod page;

use anyhow::Result;
use hamro_e2e::{Deployment, Events};
use hyper::Method;
use serde_json::json;

/// Causes requests of many kinds, and bookings with several outcomes.
async fn use_everything(deployment: &Deployment) -> Result<()> {
    let client = deployment.client();
    let seats = client.seat_ids(0).await?;
    for (customer, booked) in [("alice", &seats[..2]), ("bob", &seats[1..3])] {
        let accepted = client.create_booking(customer, booked).await?;
        // Bob's seat may be known to be sold.
        let Ok(location) = accepted.location() else { continue };
        client.final_status(location).await?;
        let mut events = Events::open(client, &format!("{location}/events")).await?;
        while events.next().await?.is_some() {}
    }
    client.book_seats("carol", &seats[4..5]).await?;
    client.book_seats("dave", &seats[4..5]).await?;
    client.create_booking("eve", &[]).await?;
    client.get("/nowhere").await?;
    client.get("/queue").await?;
    client.write(Method::POST, "/tickets-types", &json!({})).await?;
    client.write(Method::DELETE, "/queue", &json!({})).await?;
    Ok(())
}
