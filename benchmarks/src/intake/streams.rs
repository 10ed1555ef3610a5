//! Ten thousand clients that follow their tickets on event streams, in both modes of `EVENT_STREAMS`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};
use hamro_e2e::stats::{percentile, print};
use hamro_e2e::{Client, Deployment, Setup};
use hamro_shared::domain::{Clock, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::time::timeout;

const STREAMS: u16 = 10_000;
const MODES: [&str; 2] = ["detached", "hyper"];

/// The measured quantities, each with its target if it has one.
const ROWS: [(&str, Option<f64>); 9] = [
    ("api memory at start, MB", None),
    ("api memory with all streams open, MB", Some(200.0)),
    ("api memory after they ended, MB", None),
    ("memory per stream, KB", None),
    ("settled to received, p50, ms", None),
    ("settled to received, p99, ms", None),
    ("settled to received, last, ms", Some(1000.0)),
    ("all settled within, ms", None),
    ("last settled until all have received, ms", None),
];

type Measurement = [f64; ROWS.len()];

pub async fn run() -> Result<()> {
    let mut measurements = Vec::new();
    for mode in MODES {
        measurements.push(measure(mode).await.with_context(|| format!("EVENT_STREAMS={mode}"))?);
    }
    let title = format!("{STREAMS} followers");
    print(format!("streams: {title:<42}{:>12}{:>12}{:>12}", MODES[0], MODES[1], "target"));
    for (row, (name, target)) in ROWS.iter().enumerate() {
        let target = target.map(|target| format!("{target:.0}")).unwrap_or_default();
        let (first, second) = (measurements[0][row], measurements[1][row]);
        print(format!("streams: {name:<42}{first:>12.1}{second:>12.1}{target:>12}"));
    }
    Ok(())
}

async fn measure(mode: &'static str) -> Result<Measurement> {
    let setup = Setup { workers: 0, variables: vec![("EVENT_STREAMS", mode)], ..Setup::default() };
    Deployment::run(setup, async |deployment| measure_on(deployment).await).await
}

async fn measure_on(deployment: &mut Deployment) -> Result<Measurement> {
    let client = deployment.client().clone();
    let at_start = api_megabytes(deployment)?;
    let tickets = create_bookings(&client).await?;

    let all_open = Arc::new(Barrier::new(usize::from(STREAMS) + 1));
    let followers: Vec<_> = tickets
        .into_iter()
        .map(|ticket| tokio::spawn(follow(client.clone(), format!("{ticket}/events"), all_open.clone())))
        .collect();
    timeout(Duration::from_mins(2), all_open.wait()).await.context("not all streams could be opened")?;
    let with_streams = api_megabytes(deployment)?;
    deployment.start_worker(&[]).await?;
    let outcomes = try_join_all(followers).await?.into_iter().collect::<Result<Vec<_>>>()?;
    let afterwards = api_megabytes(deployment)?;

    let mut delays: Vec<f64> =
        outcomes.iter().map(|(settled, received)| settled.until(*received).as_secs_f64() * 1e3).collect();
    delays.sort_by(f64::total_cmp);
    let first_settled = outcomes.iter().map(|(settled, _)| *settled).min().context("no outcome")?;
    let last_settled = outcomes.iter().map(|(settled, _)| *settled).max().context("no outcome")?;
    let last_received = outcomes.iter().map(|(_, received)| *received).max().context("no outcome")?;
    Ok([
        at_start,
        with_streams,
        afterwards,
        (with_streams - at_start) * 1024.0 / f64::from(STREAMS),
        percentile(&delays, 0.5),
        percentile(&delays, 0.99),
        percentile(&delays, 1.0),
        first_settled.until(last_settled).as_secs_f64() * 1e3,
        last_settled.until(last_received).as_secs_f64() * 1e3,
    ])
}

fn api_megabytes(deployment: &Deployment) -> Result<f64> {
    let kilobytes = u32::try_from(deployment.apis[0].process.resident_kilobytes()?)?;
    Ok(f64::from(kilobytes) / 1024.0)
}

/// Books a seat per stream and returns the paths of the tickets.
async fn create_bookings(client: &Client) -> Result<Vec<String>> {
    let seats = client.seat_ids(0).await?;
    let booking = async |n: usize| {
        let accepted = client.create_booking(&format!("customer{n}"), &seats[n % seats.len()..][..1]).await?;
        Ok::<_, anyhow::Error>(accepted.location()?.to_owned())
    };
    stream::iter(0..usize::from(STREAMS)).map(booking).buffer_unordered(64).try_collect().await
}

/// Follows a ticket on its own connection. Returns when the ticket was settled and when the stream reported it. It does
/// little work, because it shares the machine with the api.
async fn follow(client: Client, path: String, all_open: Arc<Barrier>) -> Result<(Timestamp, Timestamp)> {
    let mut connection = TcpStream::connect(client.address()).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut read = Vec::with_capacity(1024);
    read_until(&mut connection, &mut read, "\"status\":\"queued\"").await?;
    all_open.wait().await;
    read_until(&mut connection, &mut read, "\"settledAt\"").await?;
    let received = Clock::system().now();
    read_until(&mut connection, &mut read, "\r\n0\r\n").await?;
    let text = String::from_utf8(read)?;
    let last = text.lines().rev().find_map(|line| line.strip_prefix("data:")).context("no event")?;
    let status: Value = serde_json::from_str(last)?;
    Ok((serde_json::from_value(status["settledAt"].clone())?, received))
}

async fn read_until(connection: &mut TcpStream, read: &mut Vec<u8>, marker: &str) -> Result<()> {
    while !read.windows(marker.len()).any(|window| window == marker.as_bytes()) {
        ensure!(connection.read_buf(read).await? > 0, "the stream ended: {}", String::from_utf8_lossy(read));
    }
    Ok(())
}
