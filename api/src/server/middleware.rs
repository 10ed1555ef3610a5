//! The middleware of every request. Before the handler it assigns a request id and applies the rate limit and the
//! timeout. After it, it turns a panic into a 500, returns the request id and counts the request. CORS preflight requests
//! (`OPTIONS`) bypass it.
//!
//! It is one middleware instead of a stack of seven because each layer moves the request and wraps its future once
//! more. In a profile under overload, seven layers took 21 % of the api's CPU time, and the handler that creates
//! bookings 14 %. See docs/decisions/0017-one-middleware.md.

use std::any::Any;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hamro_shared::database::Database;
use hamro_shared::telemetry::traces::{ActiveSpan, Traces, trace_id};
use tokio::time::timeout;
use tracing::{Instrument, debug, debug_span};

use super::logged_request::LoggedRequest;
use super::rate_limit::RateLimit;
use super::request_counts::RequestCounts;
use super::request_id::{REQUEST_ID, request_id};
use super::request_span;
use crate::booking_page;
use crate::http::extract::BodyTimeout;
use crate::http::prefer::MAX_HOLD;
use crate::http::problem::{Problem, ProblemCode};

/// The time until a response must begin, from the moment at which the body is complete. It is longer than a request may
/// be held, plus the time the database may then take to fence the ticket.
const RESPONSE_TIMEOUT: Duration =
    MAX_HOLD.saturating_add(Database::LONGEST_QUERY).saturating_add(Duration::from_secs(1));

/// The state that all requests share. Each has a reference to it: clones of all these counters would take longer.
#[derive(Clone, Default)]
pub struct MiddlewareState {
    pub rate_limit: Option<Arc<RateLimit>>,
    /// How long a client may take to send a body.
    pub body_timeout: BodyTimeout,
    pub counts: RequestCounts,
    pub traces: Traces,
}

pub async fn handle_request(
    State(state): State<Arc<MiddlewareState>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    // The route, because the path may contain a ticket id.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut logged = LoggedRequest::new(request.method(), route, request_id(request.headers()));
    let request_span = request_span::start(&state.traces, &mut request, &logged);
    logged.trace = request_span.as_ref().map(ActiveSpan::context);
    // At debug level only: a span per request reduces the intake's rate by a sixth. It ends where the body starts.
    let span = debug_span!(
        "http.request",
        method = %logged.method,
        route = logged.route(),
        request.id = logged.id(),
        trace_id = trace_id(logged.trace)
    );
    // Logged at the start too, because a request whose client disconnects gets no response.
    span.in_scope(|| debug!("request started"));
    let mut response = rate_limited(&state, request, next).instrument(span.clone()).await;
    let duration = started.elapsed();
    span.in_scope(|| {
        debug!(duration_ms = duration.as_millis(), "responded with {}", response.status().as_u16());
    });
    if let Some(span) = request_span {
        request_span::end(span, &response);
    }
    state.counts.count(&logged, &response, duration);
    response.headers_mut().insert(REQUEST_ID, logged.into_id());
    response
}

async fn rate_limited(state: &MiddlewareState, request: Request, next: Next) -> Response {
    let limit = RESPONSE_TIMEOUT + state.body_timeout.duration();
    let Some(rate_limit) = state.rate_limit.as_deref().filter(|_| !is_internal(request.uri().path())) else {
        return respond(request, next, limit).await;
    };
    let peer = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
    match rate_limit.check(peer, request.headers()) {
        Ok(headers) => (headers, respond(request, next, limit).await).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Whether the request is neither rate-limited nor traced. Health checks must always succeed, and loading the booking page
/// takes one request per file.
pub(super) fn is_internal(path: &str) -> bool {
    path.starts_with("/health/") || path.starts_with(booking_page::FILES)
}

/// Runs the handler. If it panics, the response is a 500. If no response has begun within the limit, it is a 503.
async fn respond(request: Request, next: Next, limit: Duration) -> Response {
    let handler = AssertUnwindSafe(next.run(request)).catch_unwind();
    match timeout(limit, handler).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => panic_problem(panic.as_ref()).into_response(),
        Err(_) => Problem::of(ProblemCode::TimedOut).retry_after(2).into_response(),
    }
}

fn panic_problem(panic: &(dyn Any + Send)) -> Problem {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("(no message)");
    Problem::internal(anyhow::anyhow!("a handler panicked: {message}"))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use axum::body::Body;
    use axum::routing::get;
    use axum::{Router, middleware};
    use tower::ServiceExt;

    use super::*;
    use crate::http::client_address::TrustedProxies;
    use crate::server::rate_limit::RateLimitConfig;

    async fn panicking_handler() {
        panic!("panic of the test");
    }

    fn router(rate_limit: Option<Arc<RateLimit>>) -> Router {
        let state = MiddlewareState { rate_limit, ..MiddlewareState::default() };
        Router::new()
            .route("/ok", get(async || "ok"))
            .route("/panics", get(panicking_handler))
            .route("/hangs", get(std::future::pending::<()>))
            .layer(middleware::from_fn_with_state(Arc::new(state), handle_request))
    }

    async fn get_from(path: &str, id: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(id) = id {
            request = request.header(REQUEST_ID, id);
        }
        router(None).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_panicking_handler_yields_a_problem_for_its_own_request() {
        let response = get_from("/panics", Some("mine")).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        assert_eq!(response.headers()[REQUEST_ID], "mine");
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_hangs_yields_503_after_the_timeout() {
        let response = get_from("/hangs", Some("mine")).await;
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[REQUEST_ID], "mine");
    }

    #[tokio::test]
    async fn a_rate_limited_response_has_a_request_id() {
        let config =
            RateLimitConfig { per_second: NonZeroU32::new(1), trusted_proxies: TrustedProxies::default() };
        let router = router(RateLimit::new(&config).map(Arc::new));
        let mut responses = Vec::new();
        while responses.len() < 1_000 && responses.last().is_none_or(|last: &Response| last.status() != 429) {
            let mut request = Request::get("/ok").body(Body::empty()).unwrap();
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([198, 51, 100, 1], 5123))));
            responses.push(router.clone().oneshot(request).await.unwrap());
        }
        let limited = responses.last().unwrap();
        assert_eq!(limited.status(), 429);
        assert!(limited.headers().contains_key(REQUEST_ID));
    }

    #[tokio::test]
    async fn a_failed_request_is_counted_with_its_route_and_its_cause() {
        let state = MiddlewareState::default();
        let router = Router::new()
            .route("/ok", get(async || "ok"))
            .route("/invalid/{id}", get(async || Problem::invalid_field("id", "is invalid")))
            .route("/failing/{id}", get(async || Problem::from(sqlx::Error::PoolTimedOut)))
            .layer(middleware::from_fn_with_state(Arc::new(state.clone()), handle_request));
        let mut sample = None;
        for path in ["/ok", "/invalid/1", "/unknown", "/failing/alice"] {
            let request = Request::get(path).header(REQUEST_ID, "mine").body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap();
            sample = state.counts.tally().sample("overloaded");
            assert_eq!(sample.is_some(), path == "/failing/alice", "{path}");
        }
        let sample = sample.unwrap().text;
        assert!(sample.starts_with("GET /failing/{id}, request mine: pool timed out"), "{sample}");
    }
}
