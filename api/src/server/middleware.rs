//! The middleware of every request. Before the handler it assigns a request id and applies the rate limit and the
//! timeout. After it, it turns a panic into a 500, sets the common response headers and counts refused and failed
//! requests. CORS preflight requests (`OPTIONS`) bypass it.
//!
//! It is one middleware instead of a stack of seven because each layer moves the request and wraps its future once
//! more. In a profile under overload, seven layers took 21 % of the api's CPU time, and the handler that creates
//! bookings 14 %. See docs/decisions/0017-one-middleware.md.

use std::any::Any;
use std::fmt::Write;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hamro_shared::database::Database;
use hamro_shared::telemetry::Tally;
use tokio::time::timeout;
use tracing::{Instrument, debug, debug_span};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::rate_limit::RateLimit;
use crate::http::prefer::MAX_HOLD;
use crate::http::problem::{FailureForLog, Problem, ProblemCode, is_logged};

/// The time until a response must begin. It is longer than a request may be held, plus the time the database may then
/// take to fence the ticket.
const RESPONSE_TIMEOUT: Duration =
    MAX_HOLD.saturating_add(Database::LONGEST_QUERY).saturating_add(Duration::from_secs(1));
/// Clients choose request ids of any length. The log contains only the beginning.
const MAX_LOGGED_ID_LENGTH: usize = 64;

/// Identifies a request in the logs of every system it passes through. A request without one gets a new id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The state that all requests share.
#[derive(Clone, Default)]
pub struct MiddlewareState {
    pub rate_limit: Option<Arc<RateLimit>>,
    /// Counts the requests that were refused or failed.
    pub tally: Arc<Tally>,
}

pub async fn handle_request(State(state): State<MiddlewareState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    // The route, because the path may contain a ticket id.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let id = request.headers().get(REQUEST_ID).cloned().unwrap_or_else(new_id);
    // At debug level only: a span per request reduces the intake's rate by a sixth. It ends where the body starts.
    let span =
        debug_span!("http.request", %method, route = route_name(route.as_ref()), request.id = logged_id(&id));
    // Logged at the start too, because a request whose client disconnects gets no response.
    span.in_scope(|| debug!("request started"));
    let mut response =
        rate_limited(state.rate_limit.as_deref(), request, next).instrument(span.clone()).await;
    let status = response.status();
    span.in_scope(|| {
        debug!(duration_ms = started.elapsed().as_millis(), "responded with {}", status.as_u16());
    });
    if is_logged(status) {
        count_failure(&state.tally, &response, &method, route.as_ref(), &id);
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    response
}

/// Counts a request that was refused or failed. For each code with a cause, the tally keeps one request as a sample.
fn count_failure(
    tally: &Tally,
    response: &Response,
    method: &Method,
    route: Option<&MatchedPath>,
    id: &HeaderValue,
) {
    let failure = response.extensions().get::<FailureForLog>();
    let code = failure.map_or("other", |failure| failure.code.as_str());
    let is_fault = matches!(code, "internal" | "database-fault");
    tally.count(code, is_fault, || {
        let mut line = format!("{method} {}, request {}", route_name(route), logged_id(id));
        if let Some(ticket) = failure?.ticket {
            let _ = write!(line, ", ticket {ticket}");
        }
        Some(format!("{line}: {}", failure?.cause_text()?))
    });
}

fn route_name(route: Option<&MatchedPath>) -> &str {
    route.map_or("(no route)", MatchedPath::as_str)
}

fn logged_id(id: &HeaderValue) -> &str {
    let text = id.to_str().unwrap_or("(not ASCII)");
    text.get(..MAX_LOGGED_ID_LENGTH).unwrap_or(text)
}

fn new_id() -> HeaderValue {
    let mut buffer = [0; Hyphenated::LENGTH];
    let id = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(id).expect("hexadecimal digits and hyphens are valid in a header value")
}

async fn rate_limited(limit: Option<&RateLimit>, request: Request, next: Next) -> Response {
    let Some(limit) = limit.filter(|_| is_rate_limited(request.uri().path())) else {
        return respond(request, next).await;
    };
    let peer = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
    match limit.check(peer, request.headers()) {
        Ok(headers) => (headers, respond(request, next).await).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Health checks must always succeed, and loading the booking page takes one request per file.
fn is_rate_limited(path: &str) -> bool {
    !path.starts_with("/health/") && !path.starts_with("/page/")
}

/// Runs the handler. If it panics, the response is a 500. If no response has begun after [`RESPONSE_TIMEOUT`], it is a
/// 503.
async fn respond(request: Request, next: Next) -> Response {
    let handler = AssertUnwindSafe(next.run(request)).catch_unwind();
    match timeout(RESPONSE_TIMEOUT, handler).await {
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
    use crate::server::rate_limit::{RateLimitConfig, TrustedProxies};

    async fn panicking_handler() {
        panic!("panic of the test");
    }

    fn router(rate_limit: Option<Arc<RateLimit>>) -> Router {
        let state = MiddlewareState { rate_limit, tally: Arc::default() };
        Router::new()
            .route("/ok", get(async || [(REFERRER_POLICY, "origin")]))
            .route("/panics", get(panicking_handler))
            .route("/hangs", get(std::future::pending::<()>))
            .layer(middleware::from_fn_with_state(state, handle_request))
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
    async fn rate_limited_responses_carry_the_standard_headers() {
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
        for header in [REQUEST_ID, X_CONTENT_TYPE_OPTIONS, REFERRER_POLICY] {
            assert!(limited.headers().contains_key(&header), "{header}");
        }
    }

    #[tokio::test]
    async fn a_failed_request_is_counted_with_its_route_and_its_cause() {
        let state = MiddlewareState::default();
        let router = Router::new()
            .route("/ok", get(async || "ok"))
            .route("/invalid/{id}", get(async || Problem::invalid_field("id", "is invalid")))
            .route("/failing/{id}", get(async || Problem::from(sqlx::Error::PoolTimedOut)))
            .layer(middleware::from_fn_with_state(state.clone(), handle_request));
        let mut sample = None;
        for path in ["/ok", "/invalid/1", "/unknown", "/failing/alice"] {
            let request = Request::get(path).header(REQUEST_ID, "mine").body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap();
            sample = state.tally.sample("overloaded");
            assert_eq!(sample.is_some(), path == "/failing/alice", "{path}");
        }
        let sample = sample.unwrap();
        assert!(sample.starts_with("GET /failing/{id}, request mine: pool timed out"), "{sample}");
    }

    #[tokio::test]
    async fn standard_headers_are_set_unless_the_handler_has_set_them() {
        let response = get_from("/ok", None).await;
        assert_eq!(response.headers()[REQUEST_ID].len(), Hyphenated::LENGTH);
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(response.headers()[REFERRER_POLICY], "origin");
    }
}
