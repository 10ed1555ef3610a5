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
/// The number of connections that are opened at a time. More would overflow the target's queue of new connections after a
/// stall: the kernel then drops what it cannot queue, and each of these connections takes a second more.
const CONNECTING: usize = 64;

pub struct Connections {
    /// `127.0.0.1:3000`
    address: String,
    idle: Mutex<Vec<Connection>>,
    slots: Arc<Semaphore>,
    connecting: Semaphore,
    waited: AtomicU64,
}

/// Permits one connection to be used.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// A request whose response was not read yet. Its connection is closed when it is dropped.
pub struct SentRequest<'a> {
    request: &'a [u8],
    connection: Connection,
    _slot: Slot,
}

impl Connections {
    pub fn new(address: String, max: usize) -> Self {
        let slots = Arc::new(Semaphore::new(max));
        let connecting = Semaphore::new(CONNECTING);
        Self { address, idle: Mutex::default(), slots, connecting, waited: AtomicU64::new(0) }
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

    /// Permission to use a connection, if there is one without waiting.
    pub fn free_slot(&self) -> Option<Slot> {
        Some(Slot { _permit: self.slots.clone().try_acquire_owned().ok()? })
    }

    /// Waits for permission to use a connection. Must not be called by a visit that has a connection in use: visits that all
    /// wait for another one would wait for each other.
    pub async fn slot(&self) -> Slot {
        if let Some(slot) = self.free_slot() {
            return slot;
        }
        self.waited.fetch_add(1, Ordering::Relaxed);
        let permit = self.slots.clone().acquire_owned().await;
        Slot { _permit: permit.expect("the semaphore is never closed") }
    }

    /// Sends the request on an unused connection.
    pub async fn send<'a>(&self, slot: Slot, request: &'a [u8]) -> io::Result<SentRequest<'a>> {
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => self.idle_or_new().await?,
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

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Opens a connection when it is its turn, unless another one has become available.
    async fn idle_or_new(&self) -> io::Result<Connection> {
        let _turn = self.connecting.acquire().await.expect("the semaphore is never closed");
        match self.take_idle() {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.address)).await??;
        stream.set_nodelay(true)?;
        Ok(Connection::new(stream))
    }
}
