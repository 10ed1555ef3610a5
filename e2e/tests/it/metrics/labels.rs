//! Clients cannot add time series, whatever they send.

use std::collections::BTreeSet;

use anyhow::Result;
use hamro_e2e::raw_http::{exchange, status};
use hamro_e2e::{Client, Deployment, Metrics, Setup, wait_until};
use hyper::Method;

/// A text that no route, method or host has.
fn odd(number: usize) -> String {
    format!("odd-{number:x}-{:016x}", number * 0x9e37_79b9)
}

/// One request of each kind, with texts that depend on the number.
async fn send_odd_requests(client: &Client, number: usize) -> Result<()> {
    let odd = odd(number);
    for path in [format!("/{odd}"), format!("/concerts/{odd}"), format!("/ticket-bookings/{odd}?x={odd}")] {
        client.get(&path).await?;
    }
    let seat = i64::try_from(number)?;
    client.book_seats(&odd, &[seat, seat]).await?;
    client.request(Method::GET, "/queue").header("x-request-id", &odd).send().await?;
    client.request(Method::GET, "/metrics").bearer_auth(&odd).header("via", &odd).send().await?;
    let method = odd.to_uppercase().replace('-', "");
    for head in [
        format!("{method} /queue HTTP/1.1\r\nHost: x"),
        format!("GET /queue HTTP/1.1\r\nHost: {odd}"),
        format!("GET /queue HTTP/1.1\r\nHost: a b {odd}"),
        format!("OPTIONS /{odd} HTTP/1.1\r\nHost: x\r\nOrigin: http://{odd}"),
        format!("POST /ticket-bookings HTTP/1.1\r\nHost: x\r\nContent-Type: {odd}\r\nContent-Length: 0"),
    ] {
        let response = exchange(client, format!("{head}\r\nConnection: close\r\n\r\n")).await?;
        assert_ne!(status(&response), 0, "{head}");
    }
    Ok(())
}

fn series(metrics: &Metrics) -> BTreeSet<String> {
    metrics.series().into_iter().collect()
}

#[tokio::test]
async fn a_thousand_odd_requests_make_no_new_series() -> Result<()> {
    const ODD: usize = 1_000;
    // Guesses of the admin token would otherwise be slowed down at some time, which is another status.
    let variables = vec![("ADMIN_FAILURES_MAX", "100000")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        // All kinds of requests once, and everything that is known only after a while.
        send_odd_requests(&client, 0).await?;
        wait_until("the queue is tracked", async || {
            let metrics = deployment.apis[0].process.metrics().await?;
            let is_known = |name| metrics.value(name, &[]).is_some();
            Ok((is_known("hamro_workers") && is_known("hamro_database_clock_offset_seconds")).then_some(()))
        })
        .await?;
        let before = series(&deployment.apis[0].process.metrics().await?);
        for number in 1..=ODD {
            send_odd_requests(&client, number).await?;
        }
        let metrics = deployment.apis[0].process.metrics().await?;
        let new: Vec<String> = series(&metrics).difference(&before).cloned().collect();
        assert!(new.is_empty(), "{new:?}");
        assert!(!metrics.text.contains("odd-") && !metrics.text.contains("ODD"), "{}", metrics.text);
        let counted = |labels: &[(&str, &str)]| metrics.count("hamro_http_requests_total", labels);
        for labels in [
            [("route", "(no route)"), ("status", "404")],
            [("route", "(preflight)"), ("status", "200")],
            [("route", "(invalid head)"), ("status", "400")],
            [("method", "(other method)"), ("status", "405")],
        ] {
            assert!(counted(&labels) > 999.0, "{labels:?}: {}", metrics.text);
        }
        Ok(())
    })
    .await
}
