//! Bounds the bytes of large responses that are in memory, because clients have not read them yet.
//!
//! Most responses of the catalogue are built in memory before they are sent. Clients that do not read would fill the memory
//! with them. The bytes count as held until they are freed, so also while hyper keeps them. Documents about seats are
//! shared by all responses; what is counted of those is the memory for decompressing one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::http::header::CONTENT_ENCODING;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};

use crate::http::bound::{Bound, ClientShare, Held};
use crate::http::client_address::{Client, TrustedProxies};
use crate::http::problem::{Problem, ProblemCode};

/// Smaller responses are not counted: the number of connections bounds them.
const COUNTED_FROM: u64 = 64 * 1024;

/// What a response takes that is decompressed while it is sent: the last 32 KiB, and what the connection buffers.
const STREAMED: u64 = 64 * 1024;

/// The bytes of large responses in memory.
#[derive(Clone)]
pub struct ResponseMemory {
    bytes: Arc<Bound>,
    proxies: TrustedProxies,
}

impl Default for ResponseMemory {
    /// Without a limit.
    fn default() -> Self {
        Self::new(u64::MAX, ClientShare::WHOLE, TrustedProxies::default())
    }
}

impl ResponseMemory {
    pub fn new(max_bytes: u64, share: ClientShare, proxies: TrustedProxies) -> Self {
        Self { bytes: Bound::new(max_bytes, share), proxies }
    }

    /// The bound of the bytes.
    pub fn bytes(&self) -> &Arc<Bound> {
        &self.bytes
    }

    pub fn proxies(&self) -> &TrustedProxies {
        &self.proxies
    }

    /// Counts what a response takes that is decompressed while it is sent, until it ends. The compressed bytes are shared with
    /// other responses.
    pub fn count_streamed(&self, client: Client, response: Response) -> Result<Response, Problem> {
        let size = response.body().size_hint().exact().unwrap_or(u64::MAX);
        if response.headers().contains_key(CONTENT_ENCODING) || size < COUNTED_FROM {
            return Ok(response);
        }
        let held = self.hold(client, STREAMED)?;
        Ok(response.map(|body| Body::new(CountedBody { body, _held: held })))
    }

    fn hold(&self, client: Client, amount: u64) -> Result<Held, Problem> {
        let held = self.bytes.hold(client, amount);
        held.map_err(|refusal| refusal.problem(ProblemCode::Overloaded, "unread responses"))
    }

    /// Counts the response, if it is large, until its memory is freed. `client` finds out whose it is.
    pub async fn count_if_large(&self, client: impl FnOnce() -> Client, response: Response) -> Response {
        match response.body().size_hint().exact() {
            Some(size) if size >= COUNTED_FROM => self.count(client(), response, size).await,
            _ => response,
        }
    }

    async fn count(&self, client: Client, response: Response, size: u64) -> Response {
        let held = match self.hold(client, size) {
            Ok(held) => held,
            Err(problem) => return problem.into_response(),
        };
        let (parts, body) = response.into_parts();
        // A body of one piece, as here, is not copied.
        match to_bytes(body, usize::MAX).await {
            Ok(bytes) => {
                Response::from_parts(parts, Body::from(Bytes::from_owner(Counted { bytes, _held: held })))
            }
            Err(error) => Problem::internal(error).into_response(),
        }
    }
}

/// Bytes that are counted until all references to them are gone.
struct Counted {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is counted until it is dropped.
struct CountedBody {
    body: Body,
    _held: Held,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
