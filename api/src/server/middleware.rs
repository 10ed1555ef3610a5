//! What every request passes before its handler: its id, the rate limit, the time limit, what becomes of a panic; and on the
//! way back the headers that all answers have, and the count of those that were refused or failed. Only what browsers ask
//! before they ask (`OPTIONS`) is answered without.
//!
//! One middleware rather than seven: each layer of a stack moves the request and wraps its future once more. In a profile of a
//! flood the seven took 21 % of the api's time, and the handler of a booking 14 %.

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
use tracing::{Instrument, debug, debug_span};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::rate_limit::RateLimit;
use crate::http::prefer::MAX_HOLD;
use crate::http::problem::{Problem, ProblemCode};
use crate::http::problem::{Refusal, is_logged};

/// How long until a response has to begin: longer than a request may be held, and the database may then take to fence its
/// ticket off.
const ANSWER_TIMEOUT: Duration =
    MAX_HOLD.saturating_add(Database::LONGEST_QUERY).saturating_add(Duration::from_secs(1));
/// A request's id may be of any length. The log has no more of it.
const LOGGED_ID_LENGTH: usize = 64;

/// Names a request in the logs of all that it passes through; one that comes without gets a new one.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the middleware is given.
#[derive(Clone, Default)]
pub struct MiddlewareState {
    pub rate_limit: Option<Arc<RateLimit>>,
    /// Where requests are counted that are refused or fail.
    pub tally: Arc<Tally>,
}

pub async fn handle_request(
    State(pipeline): State<MiddlewareState>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    // The route and not the path, which may name a ticket.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let id = request.headers().get(REQUEST_ID).cloned().unwrap_or_else(new_id);
    // Only for who debugs: a span for each request costs the intake a sixth of its rate. It ends where the body begins.
    let span = debug_span!("http.request", %method, route = name(route.as_ref()), request.id = logged(&id));
    // A client that hangs up is not answered.
    span.in_scope(|| debug!("begun"));
    let mut response = limited(pipeline.rate_limit.as_deref(), request, next).instrument(span.clone()).await;
    let status = response.status();
    span.in_scope(|| debug!(duration_ms = begun.elapsed().as_millis(), "answered with {}", status.as_u16()));
    if is_logged(status) {
        count(&pipeline.tally, &response, &method, route.as_ref(), &id);
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
    response
}

/// Counts a request that was refused or has failed; one of each code that has a cause is described.
fn count(tally: &Tally, response: &Response, method: &Method, route: Option<&MatchedPath>, id: &HeaderValue) {
    let refusal = response.extensions().get::<Refusal>();
    let code = refusal.map_or("other", |refusal| refusal.code.as_str());
    let is_fault = matches!(code, "internal" | "database-fault");
    tally.count(code, is_fault, || {
        let mut line = format!("{method} {}, request {}", name(route), logged(id));
        if let Some(ticket) = refusal?.ticket {
            let _ = write!(line, ", ticket {ticket}");
        }
        Some(format!("{line}: {}", refusal?.cause()?))
    });
}

fn name(route: Option<&MatchedPath>) -> &str {
    route.map_or("of no route", MatchedPath::as_str)
}

fn logged(id: &HeaderValue) -> &str {
    let text = id.to_str().unwrap_or("not shown");
    text.get(..LOGGED_ID_LENGTH).unwrap_or(text)
}

fn new_id() -> HeaderValue {
    let mut buffer = [0; Hyphenated::LENGTH];
    let id = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(id).expect("hexadecimal digits and hyphens are a header's value")
}

async fn limited(limit: Option<&RateLimit>, request: Request, next: Next) -> Response {
    let Some(limit) = limit.filter(|_| is_counted(request.uri().path())) else {
        return answer(request, next).await;
    };
    let peer = request.extensions().get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
    match limit.check(peer, request.headers()) {
        Ok(headers) => (headers, answer(request, next).await).into_response(),
        Err(problem) => problem.into_response(),
    }
}

/// Those who look after the instance are not to be turned away, and the page with all its parts is one visit.
fn is_counted(path: &str) -> bool {
    !path.starts_with("/health/") && !path.starts_with("/page/")
}

/// No answer is begun later than the limit. What is held on purpose is held for less.
async fn answer(request: Request, next: Next) -> Response {
    let handling = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(ANSWER_TIMEOUT, handling).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => panicked(panic.as_ref()).into_response(),
        Err(_) => Problem::new(ProblemCode::TimedOut, "It took too long. Try again in a moment.")
            .retry_after(2)
            .into_response(),
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Problem {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("nothing");
    Problem::internal(anyhow::anyhow!("a handler panicked, saying {said}"))
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

    async fn broken() {
        panic!("on purpose");
    }

    fn router(rate_limit: Option<Arc<RateLimit>>) -> Router {
        let pipeline = MiddlewareState { rate_limit, tally: Arc::default() };
        Router::new()
            .route("/fine", get(async || [(REFERRER_POLICY, "origin")]))
            .route("/broken", get(broken))
            .route("/endless", get(std::future::pending::<()>))
            .layer(middleware::from_fn_with_state(pipeline, handle_request))
    }

    async fn get_from(path: &str, id: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(id) = id {
            request = request.header(REQUEST_ID, id);
        }
        router(None).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_handler_that_panics_is_a_problem_of_its_request_alone() {
        let answer = get_from("/broken", Some("mine")).await;
        assert_eq!(answer.status(), 500);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers()[REQUEST_ID], "mine");
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_answered_all_the_same() {
        let answer = get_from("/endless", Some("mine")).await;
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[REQUEST_ID], "mine");
    }

    #[tokio::test]
    async fn whoever_is_turned_away_gets_what_all_answers_have() {
        let config =
            RateLimitConfig { per_second: NonZeroU32::new(1), trusted_proxies: TrustedProxies::default() };
        let router = router(RateLimit::new(&config).map(Arc::new));
        let mut answers = Vec::new();
        while answers.len() < 1_000 && answers.last().is_none_or(|answer: &Response| answer.status() != 429) {
            let mut request = Request::get("/fine").body(Body::empty()).unwrap();
            request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([198, 51, 100, 1], 5123))));
            answers.push(router.clone().oneshot(request).await.unwrap());
        }
        let map_foreign_key = answers.last().unwrap();
        assert_eq!(map_foreign_key.status(), 429);
        for header in [REQUEST_ID, X_CONTENT_TYPE_OPTIONS, REFERRER_POLICY] {
            assert!(map_foreign_key.headers().contains_key(&header), "{header}");
        }
    }

    #[tokio::test]
    async fn a_request_that_fails_is_counted_with_its_route_and_its_cause() {
        let pipeline = MiddlewareState::default();
        let router = Router::new()
            .route("/fine", get(async || "fine"))
            .route("/bad/{id}", get(async || Problem::invalid_field("id", "is bad")))
            .route("/away/{id}", get(async || Problem::from(sqlx::Error::PoolTimedOut)))
            .layer(middleware::from_fn_with_state(pipeline.clone(), handle_request));
        let mut fault = None;
        for path in ["/fine", "/bad/1", "/nowhere", "/away/alice"] {
            let request = Request::get(path).header(REQUEST_ID, "mine").body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap();
            fault = pipeline.tally.sample("overloaded");
            assert_eq!(fault.is_some(), path == "/away/alice", "{path}");
        }
        let sample = fault.unwrap();
        assert!(sample.starts_with("GET /away/{id}, request mine: pool timed out"), "{sample}");
    }

    #[tokio::test]
    async fn what_all_answers_have_is_set_where_a_handler_has_not_set_it() {
        let answer = get_from("/fine", None).await;
        assert_eq!(answer.headers()[REQUEST_ID].len(), Hyphenated::LENGTH);
        assert_eq!(answer.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.headers()[REFERRER_POLICY], "origin");
    }
}
