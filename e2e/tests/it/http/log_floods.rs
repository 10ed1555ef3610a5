//! Clients that try to fill the log.

use std::time::Instant;

use anyhow::Result;
use futures_util::future::try_join_all;
use hamro_e2e::client::booking;
use hamro_e2e::raw_http::{self, exchange, header, http2, read_to_end, status};
use hamro_e2e::{Deployment, Setup};
use nix::sys::signal::Signal;

/// An address without a broker: every booking is refused at once.
const NO_BROKER: (&str, &str) = ("AMQP_URL", "amqp://127.0.0.1:1/%2f");
const REQUESTS: usize = 500;
/// The longest line of the log that a request may cause.
const LINE_MAX: usize = 1_500;
/// The lines that a second of any flood may cause: the counts, and an example of each of the few codes.
const LINES_PER_SECOND: usize = 10;

fn post(path: &str, id: &str) -> String {
    let body = booking("alice", &[1]).to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: {id}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn only_a_short_visible_request_id_is_accepted_and_returned() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (longest, too_long) = ("a".repeat(128), "a".repeat(129));
        for (ids, is_kept) in [
            (vec!["mine-7"], true),
            (vec!["{\"trace\":\"00-4bf92f-01\"}"], true),
            (vec![longest.as_str()], true),
            (vec![too_long.as_str()], false),
            (vec!["a b"], false),
            (vec!["\u{e9}"], false),
            (vec![""], false),
            (vec!["mine", "mine"], false),
        ] {
            for path in ["/health/live", "/nowhere", "/concerts?page=0"] {
                let lines =
                    ids.iter().map(|id| format!("X-Request-Id: {id}\r\n")).collect::<Vec<_>>().concat();
                let get = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{lines}Connection: close\r\n\r\n");
                let response = exchange(client, get).await?;
                let id = header(&response, "x-request-id").unwrap_or_default();
                assert_eq!(id == ids[0], is_kept, "{ids:?}: {response}");
                assert!(is_kept || id.len() == 36, "{ids:?}: {response}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_flood_of_odd_requests_and_resets_adds_little_to_the_log() -> Result<()> {
    let variables = vec![("RATE_LIMIT_PER_SECOND", "100")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let number = deployment.launch_api(&[NO_BROKER]).await?;
        let api = &deployment.apis[number];
        let client = &api.client;
        let (before, started) = (api.process.printed().len(), Instant::now());
        let (text, ticket) = ("x".repeat(6_000), "01a2136b-7f15-8a3e-9d42-5c1f0e6b7a88");
        for wave in 0..REQUESTS / 100 {
            let odd = (0..100).map(|n| match n % 5 {
                0 => post("/ticket-bookings", &format!("{text}{n}")),
                1 => post("/ticket-bookings", &format!("WARN\t{wave} forged {n}")),
                2 => post(&format!("/ticket-bookings/{text}{n}"), "mine"),
                3 => format!("{text}{n} /concerts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                _ => post("/ticket-bookings", ticket),
            });
            let statuses = try_join_all(odd.map(|request| exchange(client, request))).await?;
            let refused = statuses.iter().filter(|response| [429, 503].contains(&status(response))).count();
            assert!(refused > 20, "{refused} of 100 were refused");
        }
        let get = [(":method", "GET"), (":scheme", "http"), (":path", "/concerts"), (":authority", "x")];
        let resets =
            (0..100).flat_map(|n| [http2::headers(2 * n + 1, &get, true), http2::reset(2 * n + 1)].concat());
        // A body for the connection itself makes the server close it.
        let resets = [http2::start(&[]), resets.collect(), http2::data(0, b"")].concat();
        for _ in 0..REQUESTS / 10 {
            read_to_end(&mut raw_http::send(client, &resets).await?).await?;
        }
        // The counts of the last second are logged at the end.
        let seconds = usize::try_from(started.elapsed().as_secs())? + 2;
        let mut process = deployment.apis.remove(number).process;
        process.signal(Signal::SIGTERM)?;
        assert!(process.ended().await?.success());
        process.line_after("stopped").await?;
        let log = process.printed().split_off(before);
        let lines: Vec<&str> = log.lines().collect();
        assert!(lines.len() <= seconds * LINES_PER_SECOND, "{} lines in {seconds} s:\n{log}", lines.len());
        assert!(lines.iter().all(|line| line.len() <= LINE_MAX), "{log}");
        for absent in ["xxxxxxxx", "forged", ticket, "recv_reset"] {
            assert!(!log.contains(absent), "{absent}:\n{log}");
        }
        assert!(log.contains("example of broker-unavailable: POST /ticket-bookings, request "), "{log}");
        Ok(())
    })
    .await
}
