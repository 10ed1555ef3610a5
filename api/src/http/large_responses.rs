//! Limits how many large responses are built at the same time.
//!
//! A seat map has up to tens of thousands of seats, which is megabytes of JSON. Reading, serializing and compressing
//! one keeps a core busy for about a tenth of a second. This runs on blocking threads, two at a time, so that it does
//! not delay bookings.

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

/// Responses built at the same time. Each occupies a thread, and a database session for part of the time.
const MAX_CONCURRENT: usize = 2;

/// How long a request may wait for a permit.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds large responses within the limit of this instance.
#[derive(Clone)]
pub struct LargeResponses(Arc<Semaphore>);

impl Default for LargeResponses {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONCURRENT)))
    }
}

impl LargeResponses {
    /// Builds a response on a blocking thread and compresses it as the request headers allow. Waits for a permit, and
    /// fails with `overloaded` after ten seconds. Dropping the future while it waits gives up its place.
    pub async fn build(
        &self,
        headers: &HeaderMap,
        response: impl Future<Output = Result<Response, Problem>> + Send + 'static,
    ) -> Result<Response, Problem> {
        let Ok(Ok(permit)) = timeout(PERMIT_TIMEOUT, self.0.clone().acquire_owned()).await else {
            return Err(Problem::of(ProblemCode::Overloaded).retry_after(2));
        };
        let mut request = Request::new(Body::empty());
        if let Some(accepted) = headers.get(ACCEPT_ENCODING) {
            request.headers_mut().insert(ACCEPT_ENCODING, accepted.clone());
        }
        let building = spawn_blocking(move || {
            let _permit = permit;
            Handle::current().block_on(async { Ok(compress(request, response.await?).await) })
        });
        building.await.map_err(Problem::internal)?
    }
}

/// Compresses the whole response now. The router's compression layer would compress it on the runtime's threads during
/// sending.
async fn compress(request: Request, response: Response) -> Response {
    let mut response = Some(response);
    let service =
        service_fn(move |_: Request| ready(Ok::<_, Infallible>(response.take().unwrap_or_default())));
    let Ok(compressed) = CompressionLayer::new().layer(service).oneshot(request).await;
    let (parts, body) = compressed.into_parts();
    match to_bytes(Body::new(body), usize::MAX).await {
        Ok(bytes) => Response::from_parts(parts, Body::from(bytes)),
        Err(error) => Problem::internal(error).into_response(),
    }
}
