//! Ten thousand customers who follow their tickets.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use hamro_e2e::figures::{percentile, say};
use hamro_e2e::{Client, Installation, Setup};
use hamro_shared::domain::{Clock, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::time::timeout;

const STREAMS: usize = 10_000;

pub async fn run() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let client = installation.client().clone();
    let before = installation.apis[0].process.resident_kilobytes()?;
    let seats = client.seat_ids(0).await?;
    let booking = async |n: usize| {
        let taken = client.create_booking(&format!("customer{n}"), &seats[n % seats.len()..][..1]).await?;
        Ok::<_, anyhow::Error>(taken.location()?.to_owned())
    };
    let tickets: Vec<String> =
        stream::iter(0..STREAMS).map(booking).buffer_unordered(64).try_collect().await?;

    let all_open = Arc::new(Barrier::new(STREAMS + 1));
    let followers: Vec<_> = tickets
        .into_iter()
        .map(|ticket| tokio::spawn(follow(client.clone(), format!("{ticket}/events"), all_open.clone())))
        .collect();
    timeout(Duration::from_mins(2), all_open.wait()).await.context("not all streams could be opened")?;
    let open = installation.apis[0].process.resident_kilobytes()?;
    installation.start_worker(&[]).await?;
    let heard = try_join_all(followers).await?.into_iter().collect::<Result<Vec<_>>>()?;
    let after = installation.apis[0].process.resident_kilobytes()?;

    let mut delays: Vec<f64> =
        heard.iter().map(|(settled, heard)| settled.until(*heard).as_secs_f64()).collect();
    delays.sort_by(f64::total_cmp);
    let first = heard.iter().map(|(settled, _)| *settled).min().context("none")?;
    let (last, end) = heard
        .iter()
        .fold((first, first), |(last, end), (settled, heard)| (last.max(*settled), end.max(*heard)));
    say(format!(
        "streams: {STREAMS} open, {} MB resident (wanted 200; {} MB before them, {} MB after)",
        open / 1024,
        before / 1024,
        after / 1024
    ));
    say(format!(
        "streams: from a ticket's settlement until its customer heard of it: p50 {:.0} ms, p99 {:.0} ms, the last {:.0} ms \
         (wanted 1000); the workers took {:.2} s to settle them all, and {:.0} ms after the last all had heard",
        percentile(&delays, 0.5) * 1e3,
        percentile(&delays, 0.99) * 1e3,
        percentile(&delays, 1.0) * 1e3,
        first.until(last).as_secs_f64(),
        last.until(end).as_secs_f64() * 1e3,
    ));
    installation.close().await
}

/// Follows a ticket on a connection of its own. Returns when it was settled, and when the stream told it. As lean as can
/// be: what is measured runs on the same machine.
async fn follow(client: Client, path: String, all_open: Arc<Barrier>) -> Result<(Timestamp, Timestamp)> {
    let mut connection = TcpStream::connect(client.address()).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut read = Vec::with_capacity(1024);
    until(&mut connection, &mut read, "\"status\":\"queued\"").await?;
    all_open.wait().await;
    until(&mut connection, &mut read, "\"settledAt\"").await?;
    let heard = Clock::system().now();
    until(&mut connection, &mut read, "\r\n0\r\n").await?;
    let text = String::from_utf8(read)?;
    let last = text.lines().rev().find_map(|line| line.strip_prefix("data:")).context("no event")?;
    let status: Value = serde_json::from_str(last)?;
    Ok((serde_json::from_value(status["settledAt"].clone())?, heard))
}

/// Reads on until this has come.
async fn until(connection: &mut TcpStream, read: &mut Vec<u8>, marker: &str) -> Result<()> {
    while !read.windows(marker.len()).any(|window| window == marker.as_bytes()) {
        ensure!(
            connection.read_buf(read).await? > 0,
            "the stream has ended: {}",
            String::from_utf8_lossy(read)
        );
    }
    Ok(())
}
