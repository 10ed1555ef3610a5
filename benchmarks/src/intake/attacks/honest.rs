//! An honest client, which books and reads.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::booking;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, interval, timeout};

use super::kind::Target;

/// Not the attackers' address.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The pace of a buyer's page, several times over.
const INTERVAL: Duration = Duration::from_millis(20);
/// After this time, a response counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sorted latencies in milliseconds, and how many requests failed.
#[derive(Default)]
pub struct Latencies {
    pub book: Vec<f64>,
    pub read: Vec<f64>,
    pub failed: usize,
}

pub struct HonestClient {
    target: Target,
    connection: Option<TcpStream>,
    booked: usize,
}

impl HonestClient {
    pub fn new(target: &Target) -> Self {
        Self { target: target.clone(), connection: None, booked: 0 }
    }

    /// Books and reads in turns, for this long.
    pub async fn run(&mut self, phase: Duration) -> Latencies {
        let (mut latencies, end) = (Latencies::default(), Instant::now() + phase);
        let mut ticks = interval(INTERVAL);
        while Instant::now() < end {
            let due = ticks.tick().await;
            let is_booking = latencies.book.len() <= latencies.read.len();
            let request = if is_booking { self.booking() } else { self.reading() };
            let expected = if is_booking { "202" } else { "200" };
            // From the due time, so that a stall counts for every request that it delays.
            match timeout(PATIENCE, self.exchange(&request, expected)).await {
                Ok(Ok(())) if is_booking => latencies.book.push(due.elapsed().as_secs_f64() * 1e3),
                Ok(Ok(())) => latencies.read.push(due.elapsed().as_secs_f64() * 1e3),
                Ok(Err(_)) | Err(_) => {
                    latencies.failed += 1;
                    self.connection = None;
                }
            }
        }
        latencies.book.sort_by(f64::total_cmp);
        latencies.read.sort_by(f64::total_cmp);
        latencies
    }

    fn booking(&mut self) -> String {
        let seat = self.target.seats[self.booked % self.target.seats.len()];
        self.booked += 1;
        let body = booking("honest", &[seat]).to_string();
        format!(
            "POST /ticket-bookings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn reading(&self) -> String {
        format!("GET /seats/concert/{} HTTP/1.1\r\nHost: x\r\n\r\n", self.target.small_concert)
    }

    /// Sends a request and reads its whole response.
    async fn exchange(&mut self, request: &str, expected: &str) -> Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::from((FROM, 0)))?;
                socket.connect(self.target.address).await?
            }
        };
        connection.write_all(request.as_bytes()).await?;
        let mut received = Vec::with_capacity(64 * 1024);
        loop {
            ensure!(connection.read_buf(&mut received).await? > 0, "closed");
            if is_complete(&received)? {
                break;
            }
        }
        let status = received.get(9..12).context("no status")?;
        ensure!(status == expected.as_bytes(), "status {}", String::from_utf8_lossy(status));
        self.connection = Some(connection);
        Ok(())
    }
}

/// Whether the head and the whole body have arrived.
fn is_complete(received: &[u8]) -> Result<bool> {
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let (head, body) = (str::from_utf8(&received[..end])?, &received[end + 4..]);
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    if header("transfer-encoding: chunked").is_some() {
        return Ok(body.ends_with(b"\r\n0\r\n\r\n"));
    }
    let length: usize = header("content-length: ").context("no length")?.trim().parse()?;
    Ok(body.len() >= length)
}
