//! Heads of requests that proxies in front may understand differently, and the headers that every response has.

use anyhow::Result;
use hamro_e2e::client::booking;
use hamro_e2e::raw_http::{self, exchange, header, http2, read_to_end, read_until, status};
use hamro_e2e::{Client, Deployment, Setup, tables};
use hyper::Method;

fn without_workers() -> Setup {
    Setup { workers: 0, ..Setup::default() }
}

/// A request with these headers, after which the client wants the connection to be closed.
fn request(line: &str, headers: &str) -> String {
    format!("{line}\r\n{headers}Connection: close\r\n\r\n")
}

#[tokio::test]
async fn a_request_without_exactly_one_valid_host_is_malformed() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        let body = booking("alice", &client.seat_ids(0).await?[..1]).to_string();
        for host in [
            "",
            "Host: x\r\nHost: x\r\n",
            "Host: x\r\nHost: y\r\n",
            "Host: \r\n",
            "Host: a b/@\r\n",
            "Host: u@h\r\n",
        ] {
            for line in [
                "GET /concerts HTTP/1.1",
                "OPTIONS /concerts HTTP/1.1",
                "GET / HTTP/1.1",
                "GET /docs/ HTTP/1.1",
            ] {
                assert_malformed(&exchange(client, request(line, host)).await?);
            }
            let json = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
            let post = request("POST /ticket-bookings HTTP/1.1", &format!("{host}{json}"));
            assert_malformed(&exchange(client, format!("{post}{body}")).await?);
        }
        for (line, host) in [
            ("GET http://user@other/concerts HTTP/1.1", "Host: x\r\n"),
            ("GET http://other/concerts HTTP/1.1", ""),
            ("GET http://other/concerts HTTP/1.1", "Host: a/b\r\n"),
            ("GET /concerts HTTP/1.0", "Host: x\r\nHost: x\r\n"),
        ] {
            assert_malformed(&exchange(client, request(line, host)).await?);
        }
        for (line, host) in [
            ("GET /concerts HTTP/1.0", ""),
            ("GET /concerts HTTP/1.1", "Host: shop.example.com:443\r\n"),
            ("GET /concerts HTTP/1.1", "Host: [2001:db8::7]:3000\r\n"),
            ("GET http://other:80/concerts HTTP/1.1", "Host: x\r\n"),
            ("OPTIONS * HTTP/1.1", "Host: x\r\n"),
        ] {
            let response = exchange(client, request(line, host)).await?;
            assert_eq!(status(&response), 200, "{line} {host}: {response}");
        }
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 0);
        Ok(())
    })
    .await
}

fn assert_malformed(response: &str) {
    assert_eq!(status(response), 400, "{response}");
    assert_eq!(header(response, "content-type"), Some("application/problem+json"), "{response}");
    assert!(response.contains("\"code\":\"malformed-request\""), "{response}");
    assert!(header(response, "x-request-id").is_some_and(|id| !id.is_empty()), "{response}");
}

#[tokio::test]
async fn an_http_2_request_without_an_unambiguous_authority_is_malformed() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        let with = |others: &[(&str, &str)]| {
            let common = [(":method", "GET"), (":scheme", "http"), (":path", "/concerts")];
            let fields = [&common[..], others].concat();
            [http2::start(&[]), http2::headers(1, &fields, true)].concat()
        };
        for fields in [
            &[][..],
            &[(":authority", "x"), ("host", "y")],
            &[(":authority", "u@x")],
            &[("host", "x"), ("host", "x")],
            &[("host", "a/b")],
        ] {
            let mut connection = raw_http::send(client, with(fields)).await?;
            read_until(&mut connection, "\"code\":\"malformed-request\"").await?;
        }
        for fields in
            [&[(":authority", "x")][..], &[("host", "x")], &[(":authority", "X:80"), ("host", "x:80")]]
        {
            let mut connection = raw_http::send(client, with(fields)).await?;
            read_until(&mut connection, "\"data\":[").await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_body_with_an_unknown_transfer_coding_is_refused_and_not_read() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        let post = |codings: &str, path: &str| {
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{codings}\r\n");
            let body = booking("alice", &[1]).to_string();
            let next = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            format!("{head}{:x}\r\n{body}\r\n0\r\n\r\n{next}", body.len())
        };
        for codings in [
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: identity, chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\nContent-Length: 5\r\n",
        ] {
            for path in ["/ticket-bookings", "/concerts", "/nowhere", "/health/live"] {
                let response = exchange(client, post(codings, path)).await?;
                assert_eq!(status(&response), 501, "{codings} {path}: {response}");
                assert_eq!(header(&response, "connection"), Some("close"), "{response}");
                assert!(response.contains("\"code\":\"unsupported-transfer-coding\""), "{response}");
                assert_eq!(response.matches("HTTP/1.1 ").count(), 1, "the connection is closed: {response}");
            }
        }
        for coding in ["chunked", "Chunked", " chunked "] {
            let response =
                exchange(client, post(&format!("Transfer-Encoding: {coding}\r\n"), "/ticket-bookings"))
                    .await?;
            assert_eq!(status(&response), 202, "{response}");
            assert_eq!(response.matches("HTTP/1.1 ").count(), 2, "{response}");
        }
        let log = deployment.apis[0].process.printed();
        // The readiness checks at the start are counted.
        assert!(log.lines().all(|line| line.contains(" INFO ") || line.contains(" not-ready")), "{log}");
        deployment.start_worker(&[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_response_of_unknown_length_to_an_http_1_0_client_does_not_promise_keep_alive() -> Result<()> {
    for mode in ["detached", "hyper"] {
        let setup = Setup { variables: vec![("EVENT_STREAMS", mode)], ..without_workers() };
        Deployment::run(setup, async |deployment| {
            let client = deployment.client();
            let (concert, _) = client.seat_map(0).await?;
            let ticket = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
            for (path, headers) in [
                (format!("/seats/concert/{concert}/events"), ""),
                (format!("{}/events", ticket.location()?), ""),
                ("/docs/swagger-ui.css".to_owned(), "Accept-Encoding: gzip\r\n"),
            ] {
                let get = format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n{headers}\r\n");
                let response = read_until(&mut raw_http::send(client, get).await?, "\r\n\r\n").await?;
                assert_eq!(status(&response), 200, "{path}: {response}");
                assert_eq!(header(&response, "transfer-encoding"), None, "{path}: {response}");
                assert_eq!(header(&response, "content-length"), None, "{path}: {response}");
                assert_eq!(header(&response, "connection"), Some("close"), "{path}: {response}");
            }
            // A compressed document of the catalogue has a length, too.
            for path in ["/health/live", "/concerts"] {
                let get =
                    format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n\r\n");
                let response = read_until(&mut raw_http::send(client, get).await?, "\r\n\r\n").await?;
                assert_eq!(header(&response, "connection"), Some("keep-alive"), "{response}");
            }
            deployment.start_worker(&[]).await?;
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_response_has_the_security_headers() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        let paths = [
            "/",
            "/tickets",
            "/ops",
            "/ops/page/main.js",
            "/docs/",
            "/docs/nothing",
            "/openapi.json",
            "/concerts",
            "/health/live",
            "/nowhere",
        ];
        for path in paths {
            for method in ["GET", "HEAD", "OPTIONS", "POST", "DELETE", "INVENTED"] {
                let request = client
                    .request(Method::from_bytes(method.as_bytes())?, path)
                    .header("Origin", "https://shop.example.com")
                    .header("Access-Control-Request-Method", "POST");
                let response = Client::send(request).await?;
                let header = |name| response.header(name);
                assert_eq!(
                    header("x-content-type-options"),
                    Some("nosniff"),
                    "{method} {path}: {response:?}"
                );
                assert_eq!(header("referrer-policy"), Some("no-referrer"), "{method} {path}: {response:?}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_head_request_is_neither_held_nor_takes_the_place_of_a_stream() -> Result<()> {
    let setup = Setup { variables: vec![("STREAMS_MAX", "1")], ..without_workers() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        let (concert, _) = client.seat_map(0).await?;
        let ticket = client.create_booking("alice", &client.seat_ids(0).await?[..1]).await?;
        let events = format!("/seats/concert/{concert}/events");
        let stream = format!("GET {events} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut stream = raw_http::send(client, stream).await?;
        read_until(&mut stream, "event: snapshot").await?;
        assert_eq!(client.get(&events).await?.status, 503, "there is one place");
        let (location, nobody) = (ticket.location()?, "00000000-0000-4000-8000-000000000000");
        for (path, expected) in [
            (format!("{location}?wait=3600"), 200),
            (location.to_owned(), 200),
            (format!("{location}/events"), 200),
            (events, 200),
            (format!("/seats/concert/{nobody}/events"), 404),
            (format!("/ticket-bookings/{nobody}/events"), 404),
        ] {
            // Longer than the whole test may take.
            let head = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nPrefer: wait=30\r\n\r\n");
            let started = tokio::time::Instant::now();
            let response = read_until(&mut raw_http::send(client, head).await?, "\r\n\r\n").await?;
            assert_eq!(status(&response), expected, "{path}: {response}");
            assert_eq!(header(&response, "preference-applied"), None, "{path}: {response}");
            assert!(started.elapsed().as_secs() < 20, "{path} was held");
        }
        drop(stream);
        deployment.start_worker(&[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_malformed_request_leaves_the_connection_in_step() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        // Each is answered, in order, and a body that is itself a request is not taken for one.
        let inner = "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n";
        let requests = format!(
            "GET /concerts HTTP/1.1\r\n\r\nPOST /concerts HTTP/1.1\r\nHost: a b\r\nContent-Length: {}\r\n\r\n{inner}\
             GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            inner.len()
        );
        let responses = read_to_end(&mut raw_http::send(client, requests).await?).await?;
        let statuses: Vec<&str> = responses.match_indices("HTTP/1.1 ").map(|(at, _)| &responses[at + 9..at + 12]).collect();
        assert_eq!(statuses, ["400", "400", "200"], "{responses}");
        Ok(())
    })
    .await
}
