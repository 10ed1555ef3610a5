//! HTTP behaviour that is common to all endpoints.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let named =
            Client::send(client.request(Method::GET, "/health/live").header("X-Request-Id", "mine-7"))
                .await?;
        assert_eq!(named.header("x-request-id"), Some("mine-7"));
        for path in ["/health/live", "/nowhere", "/concerts?page=0"] {
            let answer = client.get(path).await?;
            assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{path}: {answer:?}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_large_seat_map_is_compressed_if_the_client_accepts_it() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let tier = &map["seats"][0]["ticketTierId"];
        let block = json!({"ticketTierId": tier, "section": "stadium", "rows": 100, "seatsPerRow": 200});
        let added = client.write(Method::POST, &format!("/concerts/{concert}/seats"), &block).await?;
        assert_eq!(added.body["created"], 20_000);
        let path = format!("/seats/concert/{concert}");
        let plain = client.request(Method::GET, &path).send().await?.body.len();
        for encoding in ["gzip", "br"] {
            let response =
                client.request(Method::GET, &path).header("Accept-Encoding", encoding).send().await?;
            assert_eq!(response.header("content-encoding"), Some(encoding));
            let compressed = response.body.len();
            assert!(compressed * 10 < plain, "{encoding}: {compressed} of {plain} bytes");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn only_a_client_beyond_the_rate_limit_is_refused() -> Result<()> {
    let setup = Setup {
        workers: 0,
        variables: vec![("RATE_LIMIT_PER_SECOND", "5"), ("TRUSTED_PROXIES", "127.0.0.1")],
        ..Setup::default()
    };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        let ask = async |address: &str| {
            Client::send(client.request(Method::GET, "/concerts").header("X-Forwarded-For", address)).await
        };
        let first = ask("198.51.100.1").await?;
        assert_eq!((first.status, first.header("ratelimit-policy")), (200, Some("\"client\";q=5;w=1")));
        assert_eq!(first.header("ratelimit"), Some("\"client\";r=4;t=1"));
        // The quota refills while requests run, so this sends many at once.
        let many = try_join_all((0..100).map(|_| ask("198.51.100.1"))).await?;
        let refused = many.iter().find(|answer| answer.status != 200).context("no request was refused")?;
        assert_eq!((refused.status, refused.code()), (429, "too-many-requests"));
        assert_eq!(
            (refused.header("retry-after"), refused.header("ratelimit")),
            (Some("1"), Some("\"client\";r=0;t=1"))
        );
        assert_eq!(ask("198.51.100.2").await?.status, 200);
        let probes = try_join_all((0..100).map(|_| client.get("/health/live"))).await?;
        assert!(probes.iter().all(|answer| answer.status == 200));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_forwarded_address_from_an_untrusted_client_is_ignored() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("RATE_LIMIT_PER_SECOND", "5")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        let many = try_join_all((0..200).map(async |n| {
            let request = client.request(Method::GET, "/concerts");
            Client::send(request.header("X-Forwarded-For", format!("198.51.100.{n}"))).await
        }))
        .await?;
        assert!(many.iter().any(|answer| answer.status == 429));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn cors_allows_the_methods_and_headers_of_the_contract() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let closed = deployment.start_api(&[("CORS_ORIGIN", "https://shop.example.com")]).await?;
        let preflight = async |client: &Client, origin: &str| {
            let request = client
                .request(Method::OPTIONS, "/ticket-bookings")
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "POST")
                .header(
                    "Access-Control-Request-Headers",
                    "content-type,idempotency-key,prefer,last-event-id",
                );
            Client::send(request).await
        };
        let open = preflight(deployment.client(), "https://anybody.example.com").await?;
        assert_eq!(open.header("access-control-allow-origin"), Some("*"));
        let allowed = open.header("access-control-allow-headers").unwrap_or_default().to_lowercase();
        for header in ["content-type", "idempotency-key", "prefer", "last-event-id", "authorization"] {
            assert!(allowed.contains(header), "{allowed}");
        }
        let client = &deployment.apis[closed].client;
        let ours = preflight(client, "https://shop.example.com").await?;
        assert_eq!(ours.header("access-control-allow-origin"), Some("https://shop.example.com"));
        let theirs = preflight(client, "https://anybody.example.com").await?;
        assert_eq!(theirs.header("access-control-allow-origin"), None);
        let answer = client.get("/concerts").await?;
        let exposed = answer.header("access-control-expose-headers").unwrap_or_default().to_lowercase();
        for header in ["location", "retry-after", "etag", "preference-applied", "ratelimit"] {
            assert!(exposed.contains(header), "{exposed}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("HEAD_TIMEOUT", "1s")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        // No data; a possible HTTP/2 preface; half a request head; no further request after a response.
        for sent in ["", "P", "GET / HTTP/1.1\r\nHost: x\r\n", "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"]
        {
            let mut connection = TcpStream::connect(deployment.client().address()).await?;
            connection.write_all(sent.as_bytes()).await?;
            let closed = timeout(Duration::from_secs(30), connection.read_to_end(&mut Vec::new())).await;
            closed.with_context(|| format!("still open after {sent:?}"))??;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_reads_no_response_does_not_block_shutdown() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("SHUTDOWN_TIMEOUT", "4s")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let tier = &map["seats"][0]["ticketTierId"];
        let block = json!({"ticketTierId": tier, "section": "stadium", "rows": 100, "seatsPerRow": 500});
        client.write(Method::POST, &format!("/concerts/{concert}/seats"), &block).await?;
        // The response is larger than all socket buffers, and the client reads none of it.
        let mut connection = TcpStream::connect(client.address()).await?;
        let request = format!("GET /seats/concert/{concert} HTTP/1.1\r\nHost: x\r\n\r\n");
        connection.write_all(request.as_bytes()).await?;
        connection.readable().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_event_stream_starts_after_the_earlier_responses_on_its_connection() -> Result<()> {
    const BEFORE: usize = 20_000;
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let accepted = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;

        // All requests are sent before the client reads a response.
        let mut connection = TcpStream::connect(client.address()).await?;
        let before = "HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n".repeat(BEFORE);
        let requests = format!("{before}GET {}/events HTTP/1.1\r\nHost: x\r\n\r\n", accepted.location()?);
        connection.write_all(requests.as_bytes()).await?;
        deployment.start_worker(&[]).await?;
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        let mut answers = String::new();
        timeout(Duration::from_mins(1), connection.read_to_string(&mut answers)).await??;
        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), BEFORE + 1);
        let (_, stream) = answers.rsplit_once("HTTP/1.1 200 OK\r\n").context("no response")?;
        assert!(stream.contains("\"status\":\"confirmed\"") && stream.ends_with("\r\n0\r\n\r\n"), "{stream}");
        Ok(())
    })
    .await
}
