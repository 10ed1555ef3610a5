//! What every request passes before its handler: the rate limit, the time limit, and the line in the log if it fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderName;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::{Problem, ProblemCode};
use crate::rate_limit::RateLimit;

/// How long until an answer has to begin: `MAX_WAIT`, at most a minute, and what else there is to do.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);

/// Names a request in the logs of all that it passes through; one that comes without gets a new one.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One middleware rather than three: each has its price on every request.
pub async fn pass(State(limit): State<Option<Arc<RateLimit>>>, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let id = request.headers().get(REQUEST_ID).cloned();
    let response = match &limit {
        Some(limit) if is_counted(uri.path()) => {
            let peer =
                request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
            match limit.check(peer, request.headers()) {
                Ok(headers) => (headers, answer(request, next).await).into_response(),
                Err(problem) => problem.into_response(),
            }
        }
        _ => answer(request, next).await,
    };
    if response.status().is_server_error() {
        // The cause is logged where it was handled.
        let (path, status) = (uri.path(), response.status().as_u16());
        let id = id.as_ref().and_then(|id| id.to_str().ok());
        tracing::warn!(request.id = id, "answered {method} {path} with {status}");
    }
    response
}

/// Those who look after the instance are not to be turned away, and the page with all its parts is one visit.
fn is_counted(path: &str) -> bool {
    !path.starts_with("/health/") && !path.starts_with("/page/")
}

/// No answer is begun later than the limit. What is held on purpose is held for less.
async fn answer(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(ProblemCode::TimedOut, "It took too long. Try again in a moment.")
            .retry_after(2)
            .into_response(),
    }
}
