//! A TCP relay that behaves like a bad network link.
//!
//! Programs do not see lost packets, because TCP sends them again: their data arrives late. The relay therefore delays
//! data, and drops none.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::proxy::split_url;

/// The payload of a packet on an Ethernet.
const PACKET: usize = 1460;

/// Packets in flight in one direction of a connection. The sender waits while there are more.
const WINDOW: usize = 64;

/// Linux sends a lost packet again after at least this time, and doubles it with each further loss.
const RETRANSMISSION_TIMEOUT: Duration = Duration::from_millis(200);

/// The properties of a link, which are the same in each direction.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    pub latency: Duration,
    /// A random additional latency of each packet, up to this value.
    pub jitter: Duration,
    /// The share of packets that are lost.
    pub loss: f64,
    pub bytes_per_second: f64,
}

impl Quality {
    /// A link between two machines of one data centre.
    pub const GOOD: Self = Self {
        latency: Duration::from_micros(200),
        jitter: Duration::from_micros(100),
        loss: 0.0,
        bytes_per_second: 100e6,
    };
}

/// A link to a server.
#[derive(Clone)]
pub struct LossyLink {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    quality: Mutex<Quality>,
    lost: AtomicUsize,
}

impl LossyLink {
    /// Starts a good link to the server of this URL. Returns the URL that leads over the link.
    pub async fn start(url: &str) -> Result<(Self, String)> {
        let (user, server, path) = split_url(url)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let link = Self {
            address,
            state: Arc::new(State { quality: Mutex::new(Quality::GOOD), lost: AtomicUsize::new(0) }),
        };
        tokio::spawn(link.clone().accept(listener, server.to_owned()));
        Ok((link, format!("{user}@{address}/{path}")))
    }

    /// Changes the link's quality, also for open connections.
    pub fn set(&self, quality: Quality) {
        *self.state.quality.lock().unwrap_or_else(PoisonError::into_inner) = quality;
    }

    /// The number of packets that were lost and sent again.
    pub fn lost(&self) -> usize {
        self.state.lost.load(Ordering::Relaxed)
    }

    async fn accept(self, listener: TcpListener, server: String) {
        while let Ok((client, _)) = listener.accept().await {
            // A server that cannot be reached closes the client's connection.
            if let Ok(server) = TcpStream::connect(&server).await {
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(carry(from_client, to_server, self.state.clone()));
                tokio::spawn(carry(from_server, to_client, self.state.clone()));
            }
        }
    }
}

/// Carries one direction of a connection until it is closed.
async fn carry(from: OwnedReadHalf, to: OwnedWriteHalf, state: Arc<State>) {
    let (packets, arriving) = mpsc::channel(WINDOW);
    tokio::join!(send(from, packets, state), deliver(arriving, to));
}

type Packet = (Instant, Vec<u8>);

/// Reads packets, and determines when each arrives. Packets arrive in order, so a delayed one delays all behind it.
async fn send(mut from: OwnedReadHalf, packets: mpsc::Sender<Packet>, state: Arc<State>) {
    let mut previous = Instant::now();
    let mut buffer = vec![0; PACKET];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let arrives = (Instant::now() + state.travel_time()).max(previous) + state.transmission_time(length);
        previous = arrives;
        if packets.send((arrives, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
}

async fn deliver(mut arriving: mpsc::Receiver<Packet>, mut to: OwnedWriteHalf) {
    while let Some((arrives, data)) = arriving.recv().await {
        sleep_until(arrives).await;
        if to.write_all(&data).await.is_err() {
            return;
        }
    }
}

impl State {
    /// The latency of a packet, including the time until it was sent again if it was lost.
    fn travel_time(&self) -> Duration {
        let quality = self.quality();
        let mut random = rand::rng();
        let mut time = quality.latency + quality.jitter.mul_f64(random.random());
        let mut timeout = RETRANSMISSION_TIMEOUT;
        while random.random::<f64>() < quality.loss {
            self.lost.fetch_add(1, Ordering::Relaxed);
            time += timeout;
            timeout *= 2;
        }
        time
    }

    fn transmission_time(&self, length: usize) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "at most the size of a packet")]
        Duration::from_secs_f64(length as f64 / self.quality().bytes_per_second)
    }

    fn quality(&self) -> Quality {
        *self.quality.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
