//! Clients that have as many responses held as they can.

use std::net::Ipv4Addr;

use anyhow::Result;
use hamro_e2e::client::{Client, booking};
use hamro_e2e::{Deployment, Setup, wait_until};
use tokio::io::AsyncWriteExt;

use super::{ATTACKER, HONEST, Response, ask, connect};

fn post(path: &str, headers: &str, seat: i64) -> String {
    let body = booking("alice", &[seat]).to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn has_waited(response: &Response) -> bool {
    response.text.to_lowercase().contains("\r\npreference-applied: ")
}

/// Whether the server has refused to hold the response.
async fn is_answered_at_once(client: &Client, from: Ipv4Addr, location: &str) -> Result<bool> {
    let request =
        format!("GET {location} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nPrefer: wait=1\r\n\r\n");
    let response = ask(client, from, &request).await?;
    assert_eq!(response.status, 200, "{response:?}");
    Ok(!has_waited(&response))
}

#[tokio::test]
async fn a_client_with_its_share_of_waits_is_answered_at_once_and_others_wait() -> Result<()> {
    // One wait per client. Nothing settles the bookings.
    let variables = vec![("WAITS_MAX", "10"), ("CLIENT_SHARE", "10"), ("BOOKING_WAIT", "1s")];
    let setup = Setup { workers: 0, variables, expects_leftovers: true, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let ticket = client.create_booking("bob", &seats[..1]).await?;
        let location = ticket.location()?;

        let mut waiting = connect(client, ATTACKER).await?;
        waiting.write_all(post("/ticket-bookings", "Prefer: wait=30\r\n", seats[1]).as_bytes()).await?;
        // The wait is counted before the booking is published.
        wait_until("the first booking is queued", async || {
            Ok((deployment.waiting_messages().await? == 2).then_some(()))
        })
        .await?;
        assert!(is_answered_at_once(client, ATTACKER, location).await?);

        // The booking counts, only its wait does not.
        let accepted =
            ask(client, ATTACKER, &post("/ticket-bookings", "Prefer: wait=30\r\n", seats[2])).await?;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        assert!(!has_waited(&accepted), "{accepted:?}");
        let refused = ask(client, ATTACKER, &post("/ticket-bookings/seats", "", seats[3])).await?;
        assert!(refused.is_refusal(429, "client-limit-reached"), "{refused:?}");

        assert!(!is_answered_at_once(client, HONEST, location).await?);
        let waited = ask(client, HONEST, &post("/ticket-bookings/seats", "", seats[4])).await?;
        assert!(waited.text.contains("expired-in-queue"), "{waited:?}");
        // The refused booking is not among them.
        let queued = deployment.take_messages().await?.concat();
        assert_eq!(String::from_utf8_lossy(&queued).matches("alice@example.com").count(), 3);
        drop(waiting);
        Ok(())
    })
    .await
}
