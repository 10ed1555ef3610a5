//! The attacks: how many connections each opens, and what it sends.

use std::net::SocketAddr;

use anyhow::Result;
use hamro_e2e::client::ADMIN_TOKEN;
use hamro_e2e::deployment::envelope;
use hamro_e2e::raw_http::http2;

/// What the clients of a run use.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// Its seat map is megabytes long.
    pub large_concert: String,
    pub small_concert: String,
    pub seats: Vec<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    UnreadResponses,
    UnreadHttp2Streams,
    EventStreams,
    IdleConnections,
    UnfinishedHeads,
    DrippingBodies,
    HeldPolls,
}

/// What one connection of an attack does.
pub struct Script {
    /// Sent at once.
    pub opening: Vec<u8>,
    /// Sent every second.
    pub drop: Vec<u8>,
    /// Whether the client reads, as far as it receives anything.
    pub reads: bool,
    /// Whether PINGs are answered, without which the server closes an HTTP/2 connection.
    pub is_http2: bool,
}

/// Requests for the large seat map on one HTTP/2 connection.
const STREAMS_PER_CONNECTION: u32 = 30;
/// The unfinished head: as much as fits into 16 KB.
const HEAD_BYTES: usize = 12_000;

impl Attack {
    pub const ALL: [Self; 7] = [
        Self::UnreadResponses,
        Self::UnreadHttp2Streams,
        Self::EventStreams,
        Self::IdleConnections,
        Self::UnfinishedHeads,
        Self::DrippingBodies,
        Self::HeldPolls,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::UnreadResponses => "unread responses",
            Self::UnreadHttp2Streams => "unread HTTP/2 streams",
            Self::EventStreams => "event streams",
            Self::IdleConnections => "idle connections",
            Self::UnfinishedHeads => "unfinished heads",
            Self::DrippingBodies => "dripping bodies",
            Self::HeldPolls => "held polls",
        }
    }

    pub fn connections(self, is_smoke: bool) -> usize {
        match self {
            _ if is_smoke => 5,
            Self::UnreadResponses => 100,
            Self::UnreadHttp2Streams => 4,
            Self::EventStreams | Self::IdleConnections => 8_000,
            Self::UnfinishedHeads | Self::DrippingBodies => 4_000,
            Self::HeldPolls => 6_000,
        }
    }

    pub fn script(self, target: &Target) -> Result<Script> {
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
        let map = format!("/seats/concert/{}", target.large_concert);
        let script = |opening: Vec<u8>| Script { opening, drop: Vec::new(), reads: true, is_http2: false };
        Ok(match self {
            Self::UnreadResponses => Script { reads: false, ..script(get(&map)) },
            Self::UnreadHttp2Streams => {
                // The client never opens the windows of its streams.
                const INITIAL_WINDOW_SIZE: u16 = 4;
                let mut opening = http2::start(&[(INITIAL_WINDOW_SIZE, 0)]);
                let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "x"), (":path", &map)];
                for stream in 0..STREAMS_PER_CONNECTION {
                    opening.extend(http2::headers(2 * stream + 1, &fields, true));
                }
                Script { is_http2: true, ..script(opening) }
            }
            Self::EventStreams => script(get(&format!("/seats/concert/{}/events", target.small_concert))),
            Self::IdleConnections => script(Vec::new()),
            Self::UnfinishedHeads => {
                let head =
                    format!("GET /concerts HTTP/1.1\r\nHost: x\r\nX-Padding: {}", "x".repeat(HEAD_BYTES));
                Script { drop: b"x".to_vec(), ..script(head.into_bytes()) }
            }
            Self::DrippingBodies => {
                let head = format!(
                    "POST /concerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\
                     Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{{"
                );
                Script { drop: b" ".to_vec(), ..script(head.into_bytes()) }
            }
            Self::HeldPolls => {
                // A valid ticket that is not in the queue, so that no worker settles it.
                let ticket = envelope("nobody", &target.seats[..1])?.ticket.id;
                script(get(&format!("/ticket-bookings/{ticket}?wait=30")))
            }
        })
    }
}
