//! Clients that send a body slowly, or never finish it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::ADMIN_TOKEN;
use hamro_e2e::raw_http::{self, header, http2, read_until, status};
use hamro_e2e::{Client, Deployment, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

fn with_a_short_limit() -> Setup {
    Setup { workers: 0, variables: vec![("BODY_TIMEOUT", "1s")], ..Setup::default() }
}

/// A request whose body is announced and not sent.
fn head(method: &str, path: &str, framing: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
         {framing}\r\n"
    )
}

/// Sends `drop` again and again until the server has closed the connection, and returns the response.
async fn drip(mut connection: TcpStream, drop: &[u8]) -> Result<String> {
    let mut received = Vec::new();
    let mut ticks = interval(Duration::from_millis(100));
    let dripping = async {
        loop {
            tokio::select! {
                read = connection.read_buf(&mut received) => if read.unwrap_or(0) == 0 { return },
                _ = ticks.tick() => { let _ = connection.write_all(drop).await; }
            }
        }
    };
    let is_closed = timeout(Duration::from_secs(30), dripping).await.is_ok();
    let received = String::from_utf8_lossy(&received).into_owned();
    ensure!(is_closed, "the connection stays open after {received:?}");
    Ok(received)
}

/// Every operation that has a body, as a method and a path.
async fn operations_with_a_body(client: &Client) -> Result<Vec<(String, String)>> {
    let document = client.get("/openapi.json").await?.body;
    let (concert, _) = client.seat_map(0).await?;
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().context("no paths")? {
        for (method, operation) in item.as_object().context("no operations")? {
            if operation.get("requestBody").is_some() {
                found.push((method.to_uppercase(), path.replace("{concertId}", &concert)));
            }
        }
    }
    Ok(found)
}

#[tokio::test]
async fn a_body_that_is_not_received_in_time_is_answered_with_408_by_every_operation() -> Result<()> {
    Deployment::run(with_a_short_limit(), async |deployment| {
        let client = deployment.client();
        let operations = operations_with_a_body(client).await?;
        assert!(operations.len() >= 8, "{operations:?}");
        for (method, path) in operations {
            for (framing, drop) in [
                ("Content-Length: 1000\r\n", &b"{"[..]),
                ("Content-Length: 1000\r\n", b""),
                ("Transfer-Encoding: chunked\r\n", b"1\r\n \r\n"),
                ("Content-Length: 1000\r\nContent-Encoding: gzip\r\n", b"x"),
            ] {
                let connection = raw_http::send(client, head(&method, &path, framing)).await?;
                let response = drip(connection, drop).await?;
                assert_eq!(status(&response), 408, "{method} {path} {framing}: {response}");
                assert_eq!(header(&response, "connection"), Some("close"), "{response}");
                assert_eq!(header(&response, "content-type"), Some("application/problem+json"), "{response}");
                assert!(response.contains("\"code\":\"request-timeout\""), "{response}");
            }
        }
        let log = deployment.apis[0].process.printed();
        // The readiness checks at the start are counted.
        assert!(log.lines().all(|line| line.contains(" INFO ") || line.contains(" not-ready")), "{log}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_body_that_no_handler_reads_holds_no_connection() -> Result<()> {
    // Not the timeout of a body closes these connections.
    let setup = Setup { variables: vec![("BODY_TIMEOUT", "1m")], ..with_a_short_limit() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        for (method, path, expected) in [
            ("POST", "/nowhere", 404),
            ("GET", "/concerts", 200),
            ("PATCH", "/concerts", 405),
            ("OPTIONS", "/concerts", 200),
            ("DELETE", "/ticket-types/2000000000", 404),
            ("GET", "/docs/nothing", 404),
        ] {
            for (framing, drop) in
                [("Content-Length: 1000\r\n", &b"{"[..]), ("Transfer-Encoding: chunked\r\n", b"1\r\n \r\n")]
            {
                let connection = raw_http::send(client, head(method, path, framing)).await?;
                let response = drip(connection, drop).await?;
                assert_eq!(status(&response), expected, "{method} {path}: {response}");
            }
        }
        let unauthorized =
            "POST /concerts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n";
        assert_eq!(status(&drip(raw_http::send(client, unauthorized).await?, b"").await?), 401);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_slow_body_on_http_2_ends_its_own_stream_only() -> Result<()> {
    Deployment::run(with_a_short_limit(), async |deployment| {
        let client = deployment.client();
        let post = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/ticket-bookings"),
            (":authority", "x"),
            ("content-type", "application/json"),
        ];
        let get = [(":method", "GET"), (":scheme", "http"), (":path", "/concerts"), (":authority", "x")];
        let start = [http2::start(&[]), http2::headers(1, &post, false), http2::data(1, b"{")].concat();
        let mut connection = raw_http::send(client, start).await?;
        read_until(&mut connection, "\"code\":\"request-timeout\"").await?;
        connection.write_all(&http2::headers(3, &get, true)).await?;
        read_until(&mut connection, "\"data\":[").await?;
        Ok(())
    })
    .await
}
