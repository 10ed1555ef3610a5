//! Bounds the bytes of large responses that are in memory, because clients have not read them yet.
//!
//! Most responses of the catalogue are built in memory before they are sent: the seat map of 50 000 seats has 11 MB.
//! Clients that do not read would fill the memory with them. The bytes count as held until they are freed, so also
//! while hyper keeps them.

use std::sync::Arc;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::http::bound::{Bound, ClientShare, Held};
use crate::http::client_address::{Client, TrustedProxies};
use crate::http::problem::{Problem, ProblemCode};

/// Smaller responses are not counted: the number of connections bounds them.
const COUNTED_FROM: u64 = 64 * 1024;

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

    /// Fails if this client, or all clients together, cannot be sent a further response of about this size now. To be
    /// called before one is built.
    pub fn check(&self, client: Client, bytes: u64) -> Result<(), Problem> {
        if bytes < COUNTED_FROM { Ok(()) } else { self.hold(client, bytes).map(drop) }
    }

    fn hold(&self, client: Client, amount: u64) -> Result<Held, Problem> {
        let held = self.bytes.hold(client, amount);
        held.map_err(|refusal| refusal.problem(ProblemCode::Overloaded, "unread responses"))
    }

    /// Counts the response, if it is large, until its memory is freed. `client` finds out whose it is.
    pub async fn count_if_large(&self, client: impl FnOnce() -> Client, response: Response) -> Response {
        let is_large = response.body().size_hint().exact().is_some_and(|size| size >= COUNTED_FROM);
        if is_large { self.count(client(), response).await } else { response }
    }

    async fn count(&self, client: Client, response: Response) -> Response {
        let Some(size) = response.body().size_hint().exact().filter(|size| *size >= COUNTED_FROM) else {
            return response;
        };
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

/// The middleware that counts responses.
pub async fn count_response(State(memory): State<ResponseMemory>, request: Request, next: Next) -> Response {
    let client = memory.proxies.client(request.extensions(), request.headers());
    let response = next.run(request).await;
    memory.count(client, response).await
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    const SIZE: usize = 100_000;

    fn response(size: usize) -> Response {
        vec![b'a'; size].into_response()
    }

    #[tokio::test]
    async fn a_large_response_is_counted_until_its_last_byte_is_freed() {
        let memory = ResponseMemory::new(150_000, ClientShare::WHOLE, TrustedProxies::default());
        let client = Client(None);
        let first = memory.count(client, response(SIZE)).await;
        assert_eq!(memory.bytes().held(), SIZE as u64);
        let refused = memory.count(client, response(SIZE)).await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers().contains_key("retry-after"));
        assert!(memory.check(client, SIZE as u64).is_err());
        let mut bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        let last = bytes.split_off(SIZE - 1);
        drop(bytes);
        assert_eq!(memory.bytes().held(), SIZE as u64);
        drop(last);
        assert_eq!(memory.bytes().held(), 0);
        assert!(memory.check(client, SIZE as u64).is_ok());
    }

    #[tokio::test]
    async fn a_small_response_is_not_counted() {
        let memory = ResponseMemory::new(1, ClientShare::WHOLE, TrustedProxies::default());
        assert_eq!(memory.count(Client(None), response(1_000)).await.status(), StatusCode::OK);
        assert_eq!(memory.bytes().held(), 0);
    }
}
