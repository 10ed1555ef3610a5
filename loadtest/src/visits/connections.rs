//! The connections on which pages are loaded. Like those for bookings, they are kept open, as between a proxy and the
//! target.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::connection::{Connection, Head};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of connections opened concurrently by `warm`.
const CONNECTING: usize = 64;

pub struct Connections {
    /// `127.0.0.1:3000`
    address: String,
    idle: Mutex<Vec<Connection>>,
    slots: Arc<Semaphore>,
    waited: AtomicU64,
}

/// A request whose response was not read yet. Its connection is closed when it is dropped.
pub struct SentRequest<'a> {
    request: &'a [u8],
    connection: Connection,
    _slot: OwnedSemaphorePermit,
}

impl Connections {
    pub fn new(address: String, max: usize) -> Self {
        let slots = Arc::new(Semaphore::new(max));
        Self { address, idle: Mutex::default(), slots, waited: AtomicU64::new(0) }
    }

    /// The number of requests that waited for a connection.
    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    /// Opens connections in advance.
    pub async fn warm(&self, connections: usize) -> io::Result<()> {
        stream::iter(0..connections)
            .map(|_| self.connect())
            .buffer_unordered(CONNECTING)
            .try_for_each(async |connection| {
                self.add_idle(connection);
                Ok(())
            })
            .await
    }

    /// Sends the request on an unused connection.
    pub async fn send<'a>(&self, request: &'a [u8]) -> io::Result<SentRequest<'a>> {
        let slot = self.slot().await;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        if connection.send(request).await.is_err() {
            // The target has closed the idle connection.
            connection = self.connect().await?;
            connection.send(request).await?;
        }
        Ok(SentRequest { request, connection, _slot: slot })
    }

    /// Reads the head of the response. Sends the request again if the target closed the idle connection meanwhile, as
    /// browsers do.
    pub async fn head(&self, sent: &mut SentRequest<'_>) -> io::Result<Head> {
        match sent.connection.head().await {
            Err(_) if sent.connection.is_used && sent.connection.buffered() == 0 => {
                sent.connection = self.connect().await?;
                sent.connection.send(sent.request).await?;
                sent.connection.head().await
            }
            read => read,
        }
    }

    /// Reads the body, and makes the connection available to other requests. Returns the number of bytes.
    pub async fn body(
        &self,
        mut sent: SentRequest<'_>,
        head: &Head,
        each: impl FnMut(&[u8]),
    ) -> io::Result<u64> {
        let bytes = sent.connection.body(head, each).await?;
        if Connection::is_reusable(head) {
            self.add_idle(sent.connection);
        }
        Ok(bytes)
    }

    /// The most recently used connection is used first, so that no more connections than necessary stay in use.
    fn add_idle(&self, connection: Connection) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    async fn slot(&self) -> OwnedSemaphorePermit {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return slot;
        }
        self.waited.fetch_add(1, Ordering::Relaxed);
        self.slots.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.address)).await??;
        stream.set_nodelay(true)?;
        Ok(Connection::new(stream))
    }
}
