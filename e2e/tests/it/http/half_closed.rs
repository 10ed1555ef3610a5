//! Clients that close their sending side after their last request and still read, as `nc -N` and some libraries do.

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::{Client, Deployment, Setup, client::booking, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

fn post(path: &str, version: &str, headers: &str, customer: &str, seat: i64) -> String {
    let body = booking(customer, &[seat]).to_string();
    format!(
        "POST {path} HTTP/{version}\r\nHost: x\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// Sends the requests and closes the sending side.
async fn send(client: &Client, requests: &str) -> Result<TcpStream> {
    let mut connection = TcpStream::connect(client.address()).await?;
    connection.write_all(requests.as_bytes()).await?;
    connection.shutdown().await?;
    Ok(connection)
}

/// Reads until the server closes the connection.
async fn read(mut connection: TcpStream) -> Result<String> {
    let mut responses = String::new();
    let read = timeout(Duration::from_secs(30), connection.read_to_string(&mut responses)).await;
    read.with_context(|| format!("the connection stays open after {responses:?}"))??;
    Ok(responses)
}

/// A response may follow the body of the previous one without a line break.
fn statuses(responses: &str) -> Vec<&str> {
    responses.match_indices("HTTP/1.").filter_map(|(at, _)| responses.get(at + 9..at + 12)).collect()
}

#[tokio::test]
async fn a_half_closed_client_receives_the_responses_to_its_requests() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, _) = client.seat_map(0).await?;
        let seats = client.seat_ids(0).await?;
        for seat in &seats[..20] {
            let responses =
                read(send(&client, &post("/ticket-bookings", "1.1", "", "alice", *seat)).await?).await?;
            assert_eq!(statuses(&responses), ["202"], "seat {seat}: {responses}");
        }
        let close = post("/ticket-bookings", "1.1", "Connection: close\r\n", "bob", seats[20]);
        assert_eq!(statuses(&read(send(&client, &close).await?).await?), ["202"]);
        let old = post("/ticket-bookings", "1.0", "", "carol", seats[21]);
        assert_eq!(statuses(&read(send(&client, &old).await?).await?), ["202"]);
        let pipelined = [
            get("/concerts"),
            post("/ticket-bookings", "1.1", "", "dave", seats[22]),
            get(&format!("/seats/concert/{concert}")),
            get("/nowhere"),
        ];
        let responses = read(send(&client, &pipelined.concat()).await?).await?;
        assert_eq!(statuses(&responses), ["200", "202", "200", "404"]);

        // These wait until a worker runs.
        let ticket = client.create_booking("erin", &[seats[23]]).await?;
        let held = format!("{}?wait=20", ticket.location()?);
        let waiting = [
            (post("/ticket-bookings/seats", "1.1", "", "frank", seats[24]), "201"),
            (post("/ticket-bookings/seats", "1.0", "", "grace", seats[25]), "201"),
            (post("/ticket-bookings", "1.1", "Prefer: wait=20\r\n", "heidi", seats[26]), "201"),
            (post("/ticket-bookings/seats", "1.1", "", "ivan", seats[0]), "409"),
            (get(&held), "200"),
        ];
        let mut connections = Vec::new();
        for (request, status) in &waiting {
            connections.push((send(&client, request).await?, request, *status));
        }
        deployment.start_worker(&[]).await?;
        for (connection, request, status) in connections {
            let responses = read(connection).await?;
            assert_eq!(statuses(&responses), [status], "{request}: {responses}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_event_stream_serves_half_closed_clients_and_notices_those_that_are_gone() -> Result<()> {
    let setup = Setup { apis: 0, workers: 0, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let mut streams = Vec::new();
        for mode in ["detached", "hyper"] {
            let api = deployment.start_api(&[("EVENT_STREAMS", mode), ("STREAMS_MAX", "1")]).await?;
            let client = deployment.apis[api].client.clone();
            let seat = client.seat_ids(0).await?[streams.len()];
            let ticket = client.create_booking("alice", &[seat]).await?;
            let events = format!("{}/events", ticket.location()?);
            if mode == "detached" {
                // hyper notices it only at the second comment, after up to 30 seconds.
                drop(send(&client, &get(&events)).await?);
            }
            let stream = wait_until("a stream is available", async || {
                let mut stream = send(&client, &get(&events)).await?;
                let mut status = [0; 12];
                stream.read_exact(&mut status).await?;
                Ok((&status == b"HTTP/1.1 200").then_some(stream))
            })
            .await?;
            streams.push(stream);
        }
        deployment.start_worker(&[]).await?;
        for stream in streams {
            let received = read(stream).await?;
            assert!(received.contains("\"status\":\"confirmed\""), "{received}");
        }
        Ok(())
    })
    .await
}
