//! Limits how many large responses, such as seat maps, are built at a time.
//!
//! A seat map has up to tens of thousands of seats, which is megabytes of JSON. Reading, serializing and compressing one keeps a
//! core busy for about a tenth of a second. This happens on blocking threads, two at a time, so that it does not delay bookings.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use axum::response::{IntoResponse, Response};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::compression::CompressionLayer;

use crate::http::problem::{Problem, ProblemCode};

/// Responses that are built at a time. Each takes a thread, and for part of the time a session of the database.
const AT_ONCE: usize = 2;

/// How long a request may wait for its turn.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// The large responses that this instance builds.
#[derive(Clone)]
pub struct LargeResponses(Arc<Semaphore>);

impl Default for LargeResponses {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl LargeResponses {
    /// Builds a response on a blocking thread, compressed as these request headers accept it. Waits for its turn; a request that
    /// is dropped while it waits gives up its turn. Fails with `overloaded` after ten seconds.
    pub async fn build(
        &self,
        headers: &HeaderMap,
        response: impl Future<Output = Result<Response, Problem>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let turn = timeout(WAIT_MAX, self.0.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            let detail = "Too many seat maps are requested at this moment. Try again in a moment.";
            return Err(Problem::new(ProblemCode::Overloaded, detail).retry_after(2));
        };
        let mut request = Request::new(Body::empty());
        if let Some(accepted) = headers.get(ACCEPT_ENCODING) {
            request.headers_mut().insert(ACCEPT_ENCODING, accepted.clone());
        }
        let building = spawn_blocking(move || {
            let _turn = turn;
            Handle::current().block_on(async { Ok(compress(request, response.await?).await) })
        });
        building.await.map_err(Problem::internal)?
    }
}

/// Compresses the whole response now. The router's compression layer would do it on the runtime's threads while it is sent.
async fn compress(request: Request, response: Response) -> Response {
    let mut response = Some(response);
    let service =
        service_fn(move |_: Request| ready(Ok::<_, Infallible>(response.take().unwrap_or_default())));
    let Ok(compressed) = CompressionLayer::new().layer(service).oneshot(request).await;
    let (parts, body) = compressed.into_parts();
    match to_bytes(Body::new(body), usize::MAX).await {
        Ok(whole) => Response::from_parts(parts, Body::from(whole)),
        Err(error) => Problem::internal(error).into_response(),
    }
}
