//! An HTTP/1.1 client with persistent connections and one request at a time on each, like as many browsers.
//!
//! The pool of a client library would hide whether a request waited for a connection, and how many are open. Only
//! `http://` is supported, because encryption would cost the load generator CPU time.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of connections opened concurrently by `warm`.
const CONNECTING: usize = 64;

type Sender = SendRequest<Full<Bytes>>;

/// A client of one server.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    /// `127.0.0.1:3000`
    address: String,
    host: HeaderValue,
    timeout: Duration,
    idle: Mutex<Vec<Sender>>,
    slots: Arc<Semaphore>,
    waited: AtomicU64,
}

/// A response with its body.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    pub status: u16,
    pub location: Option<String>,
    pub retry_after: Option<Duration>,
    pub body: Bytes,
}

/// Why there is no response. The request may have had an effect, unless no connection was opened.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("no connection: {0}")]
    Unreachable(std::io::Error),
    #[error("the connection broke: {0}")]
    Broken(#[from] hyper::Error),
    #[error("the request timed out")]
    TimedOut,
}

impl RequestError {
    /// A short name, used as the key of a counter.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Broken(_) => "broken-connection",
            Self::TimedOut => "no-response",
        }
    }
}

/// A connection in use.
struct Lease {
    sender: Sender,
    _slot: OwnedSemaphorePermit,
}

impl Client {
    /// `url` is the server's, such as `http://127.0.0.1:3000`. `max` limits the number of connections.
    pub fn new(url: &str, max: usize, timeout: Duration) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("'{url}' is not a URL"))?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
            bail!("'{url}' must look like http://127.0.0.1:3000");
        }
        let authority = uri.authority().with_context(|| format!("'{url}' has no host"))?;
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let host = HeaderValue::try_from(authority.as_str())?;
        let slots = Arc::new(Semaphore::new(max));
        let (idle, waited) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { address, host, timeout, idle, slots, waited })))
    }

    /// The number of requests that had to wait for a connection.
    pub fn waited(&self) -> u64 {
        self.0.waited.load(Ordering::Relaxed)
    }

    /// Opens connections in advance.
    pub async fn warm(&self, connections: usize) -> Result<(), RequestError> {
        stream::iter(0..connections)
            .map(|_| self.connect())
            .buffer_unordered(CONNECTING)
            .try_for_each(async |sender| {
                self.put_back(sender);
                Ok(())
            })
            .await
    }

    pub async fn get(&self, path: &str) -> Result<HttpResponse, RequestError> {
        self.send(self.request(Method::GET, path, Bytes::new())).await
    }

    /// Posts a booking, with this `Idempotency-Key` if there is one.
    pub async fn post(
        &self,
        path: &str,
        body: Vec<u8>,
        key: Option<&str>,
    ) -> Result<HttpResponse, RequestError> {
        let mut request = self.request(Method::POST, path, body.into());
        if let Some(key) = key.and_then(|key| HeaderValue::try_from(format!("\"{key}\"")).ok()) {
            request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        }
        self.send(request).await
    }

    /// Sends a request with the admin token.
    pub async fn write(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        token: &str,
    ) -> Result<HttpResponse, RequestError> {
        let mut request = self.request(method, path, body.into());
        if let Ok(mut bearer) = HeaderValue::try_from(format!("Bearer {token}")) {
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        self.send(request).await
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let is_empty = body.is_empty();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        // An invalid path, such as a bad Location, becomes `/`, and the server responds with 404.
        *request.uri_mut() = path.parse().unwrap_or_default();
        request.headers_mut().insert(HOST, self.0.host.clone());
        if !is_empty {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        request
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<HttpResponse, RequestError> {
        let answering = async {
            let (lease, response) = self.begin(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            self.put_back(lease.sender);
            let location = text(&head.headers, LOCATION).map(str::to_owned);
            let seconds = text(&head.headers, RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
            let retry_after = seconds.map(Duration::from_secs);
            Ok(HttpResponse { status: head.status.as_u16(), location, retry_after, body })
        };
        timeout(self.0.timeout, answering).await.unwrap_or(Err(RequestError::TimedOut))
    }

    /// Opens an event stream.
    pub async fn stream(&self, path: &str) -> Result<Stream, RequestError> {
        let request = self.request(Method::GET, path, Bytes::new());
        let started = timeout(self.0.timeout, self.begin(request)).await;
        let (lease, response) = started.unwrap_or(Err(RequestError::TimedOut))?;
        Ok(Stream { client: self.clone(), lease: Some(lease), response, read: Vec::new() })
    }

    /// Sends the request on an unused connection, and waits for the head of the response.
    async fn begin(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Lease, Response<Incoming>), RequestError> {
        let slot = self.slot().await;
        loop {
            let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let is_fresh = idle.is_none();
            let mut sender = match idle {
                Some(sender) => sender,
                None => self.connect().await?,
            };
            if let Err(closed) = sender.ready().await {
                if is_fresh {
                    return Err(closed.into());
                }
                // The server has closed the idle connection.
                continue;
            }
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((Lease { sender, _slot: slot }, response)),
                Err(mut error) => match error.take_message() {
                    // Nothing was sent, so another connection can be tried.
                    Some(unsent) if !is_fresh => request = unsent,
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }

    async fn slot(&self) -> OwnedSemaphorePermit {
        if let Ok(slot) = self.0.slots.clone().try_acquire_owned() {
            return slot;
        }
        self.0.waited.fetch_add(1, Ordering::Relaxed);
        self.0.slots.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    async fn connect(&self) -> Result<Sender, RequestError> {
        let connecting = timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.0.address)).await;
        let stream = connecting.map_err(|_| RequestError::TimedOut)?.map_err(RequestError::Unreachable)?;
        stream.set_nodelay(true).map_err(RequestError::Unreachable)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // An error of the connection is also reported to the request on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    /// The most recently used connection is used first, so that no more connections than necessary stay in use.
    fn put_back(&self, sender: Sender) {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0.address)
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// An event stream. Its connection is reused if the stream ends normally.
pub struct Stream {
    client: Client,
    lease: Option<Lease>,
    response: Response<Incoming>,
    read: Vec<u8>,
}

impl Stream {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The name and the data of the next event. `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<(String, String)>, RequestError> {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.read.drain(..end + 2).collect();
                match event(&String::from_utf8_lossy(&block)) {
                    Some(event) => return Ok(Some(event)),
                    // A block without data is a comment.
                    None => continue,
                }
            }
            match self.response.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                None => {
                    if let Some(Lease { sender, .. }) = self.lease.take() {
                        self.client.put_back(sender);
                    }
                    return Ok(None);
                }
            }
        }
    }
}

fn event(block: &str) -> Option<(String, String)> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    Some((field("event:").unwrap_or("message").to_owned(), field("data:")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_plain_http_url_without_a_path_is_accepted() {
        let client = |url| Client::new(url, 1, Duration::from_secs(1));
        assert!(client("http://127.0.0.1:3000/").is_ok());
        for invalid in ["https://example.com", "127.0.0.1:3000", "http://127.0.0.1/api", "nonsense", ""] {
            assert!(client(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn events_are_parsed_and_comments_are_skipped() {
        let parsed = |name: &str, data: &str| Some((name.to_owned(), data.to_owned()));
        assert_eq!(event("event: status\nid: queued\ndata: {}\n\n"), parsed("status", "{}"));
        assert_eq!(event("data: 1\n\n"), parsed("message", "1"));
        assert_eq!(event(": still here\n\n"), None);
    }
}
