//! The connections of a client.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::RequestError;
use super::connection::{Sender, Tls};

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of connections that are opened at a time. More would overflow the target's queue of new connections after a
/// stall: the kernel then drops what it cannot queue, and each of these connections takes a second more.
const CONNECTING: usize = 64;

pub(super) struct Pool {
    /// `127.0.0.1:3000`
    address: String,
    tls: Option<Tls>,
    idle: Mutex<Vec<Sender>>,
    slots: Arc<Semaphore>,
    connecting: Semaphore,
    waited: AtomicU64,
}

/// A connection in use. It is closed when it is dropped, unless it is put back.
pub(super) struct Connection {
    sender: Sender,
    _slot: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new(address: String, tls: Option<Tls>, max: usize) -> Self {
        let slots = Arc::new(Semaphore::new(max));
        let connecting = Semaphore::new(CONNECTING);
        Self { address, tls, idle: Mutex::default(), slots, connecting, waited: AtomicU64::new(0) }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn waited(&self) -> u64 {
        self.waited.load(Ordering::Relaxed)
    }

    pub async fn warm(&self, connections: usize) -> Result<(), RequestError> {
        stream::iter(0..connections)
            .map(|_| self.connect())
            .buffer_unordered(CONNECTING)
            .try_for_each(async |sender| {
                self.add_idle(sender);
                Ok(())
            })
            .await
    }

    /// Sends the request on an unused connection, and waits for the head of the response.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Connection, Response<Incoming>), RequestError> {
        let slot = self.slot().await;
        loop {
            let (mut sender, is_fresh) = match self.take_idle() {
                Some(sender) => (sender, false),
                None => self.idle_or_new().await?,
            };
            if let Err(closed) = sender.ready().await {
                if is_fresh {
                    return Err(closed.into());
                }
                // The server has closed the idle connection.
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((Connection { sender, _slot: slot }, response)),
                Err(mut error) => match error.take_message() {
                    // Nothing was sent, so another connection can be tried.
                    Some(unsent) if !is_fresh => request = unsent,
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }

    /// Makes the connection available to other requests, after the whole response was read.
    pub fn put_back(&self, connection: Connection) {
        self.add_idle(connection.sender);
    }

    /// The most recently used connection is used first, so that no more connections than necessary stay in use.
    fn add_idle(&self, sender: Sender) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }

    fn take_idle(&self) -> Option<Sender> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Opens a connection when it is its turn, unless another one has become available. Returns whether it is new.
    async fn idle_or_new(&self) -> Result<(Sender, bool), RequestError> {
        let _turn = self.connecting.acquire().await.expect("the semaphore is never closed");
        match self.take_idle() {
            Some(sender) => Ok((sender, false)),
            None => Ok((self.connect().await?, true)),
        }
    }

    async fn slot(&self) -> OwnedSemaphorePermit {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return slot;
        }
        self.waited.fetch_add(1, Ordering::Relaxed);
        self.slots.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    async fn connect(&self) -> Result<Sender, RequestError> {
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.address)).await;
        let stream = connecting.map_err(|_| RequestError::TimedOut)?.map_err(RequestError::Unreachable)?;
        stream.set_nodelay(true).map_err(RequestError::Unreachable)?;
        // Boxed, because the handshake of TLS would make every future large that sends a request.
        let opening = timeout(CONNECT_TIMEOUT, Box::pin(Sender::open(stream, self.tls.as_ref()))).await;
        opening.unwrap_or(Err(RequestError::TimedOut))
    }
}
