//! Counts requests and their responses: in metrics since the start of the process, and in the log those that were refused or
//! failed in the last second ([`Tally`]). Both are counted in one place, so that they agree.
//!
//! The labels of a request have few values, whatever clients send: the names of standard methods, the routes of the router,
//! and fixed names for everything else.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{Counter, Distribution, Family, MetricsRegistry};
use hamro_shared::telemetry::{Sample, Tally};

use super::logged_request::{LoggedRequest, method_name};
use crate::http::problem::{FailureForLog, ProblemCode, is_logged};
use crate::metrics::{ApiMetrics, RefusalCode};

metric_labels! {
    struct RequestLabels {
        method,
        route,
        status,
    }
}

metric_labels! {
    struct DurationLabels {
        route,
        status,
    }
}

/// A request that does not reach the router. Its path is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrouted {
    /// Its connection is one too many.
    RefusedConnection,
    /// Its head is invalid.
    InvalidHead,
    /// `OPTIONS`, which the CORS layer answers.
    Preflight,
}

impl Unrouted {
    fn route(self) -> &'static str {
        match self {
            Self::RefusedConnection => "(refused connection)",
            Self::InvalidHead => "(invalid head)",
            Self::Preflight => "(preflight)",
        }
    }
}

/// The counters. Clones share their counts.
#[derive(Clone, Default)]
pub struct RequestCounts {
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, Distribution>,
    refusals: Family<RefusalCode, Counter>,
    routes: Routes,
    known_routes: Arc<HashMap<String, KnownRoute>>,
    tally: Arc<Tally>,
}

/// What is counted about requests with the same labels.
#[derive(Clone, Debug)]
struct Series {
    requests: Counter,
    duration: Distribution,
}

/// The series of a route that is known from the start. They are found without a lock, which all requests would share.
#[derive(Debug)]
struct KnownRoute {
    name: &'static str,
    /// For each of [`COMMON_METHODS`] and each of [`STATUSES`], once there was such a request.
    series: Vec<OnceLock<Series>>,
}

const COMMON_METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

impl KnownRoute {
    fn new(name: &'static str) -> Self {
        let series = COMMON_METHODS.len() * STATUSES.len();
        Self { name, series: std::iter::repeat_with(OnceLock::new).take(series).collect() }
    }

    /// `None` if the method or the status is not common.
    fn series(&self, method: &str, status: StatusCode) -> Option<&OnceLock<Series>> {
        let method = COMMON_METHODS.iter().position(|common| *common == method)?;
        let status = STATUSES.iter().position(|common| *common == status.as_u16())?;
        self.series.get(method * STATUSES.len() + status)
    }
}

impl RequestCounts {
    pub fn register(registry: &mut MetricsRegistry, metrics: &ApiMetrics) -> Self {
        Self {
            requests: registry.counters(
                "http_requests",
                "Requests by method, route and status of the response",
            ),
            durations: registry.latencies(
                "http_request_duration_seconds",
                "Time from the head of a request until its response begins, by route and class of the status. \
                 It includes the time for which a client asked to hold the response",
            ),
            refusals: metrics.refusals.clone(),
            ..Self::default()
        }
    }

    /// Also looks up the series of these routes without a lock.
    #[must_use]
    pub fn with_routes<'a>(self, routes: impl Iterator<Item = &'a String>) -> Self {
        let known = routes.map(|route| (route.clone(), KnownRoute::new(self.routes.name(route))));
        Self { known_routes: Arc::new(known.collect()), ..self }
    }

    /// The requests and connections that were refused or failed in the last second.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Counts a request that has reached the router.
    pub fn count(&self, request: &LoggedRequest, response: &Response, duration: Duration) {
        let status = response.status();
        if !cfg!(feature = "without-metrics") {
            self.with_series(request, status, |series| {
                series.requests.inc();
                series.duration.observe_duration(duration);
            });
            self.count_refusal(response);
        }
        if is_logged(status) {
            self.tally_failure(request, response);
        }
    }

    /// Counts a request that has not.
    pub fn count_unrouted(&self, unrouted: Unrouted, method: &Method, response: &Response) {
        self.requests(method_name(method), unrouted.route(), response.status()).inc();
        self.count_refusal(response);
    }

    /// Calls `count` with the series of the request.
    fn with_series(&self, request: &LoggedRequest, status: StatusCode, count: impl FnOnce(&Series)) {
        let method = request.method;
        let find = |route| Series {
            requests: self.requests(method, route, status),
            duration: self
                .durations
                .get_or_create(&DurationLabels { route, status: status_class(status) })
                .clone(),
        };
        let known = self.known_routes.get(request.route());
        match known.and_then(|route| Some((route.name, route.series(method, status)?))) {
            Some((route, series)) => count(series.get_or_init(|| find(route))),
            None => count(&find(self.routes.name(request.route()))),
        }
    }

    fn requests(&self, method: &'static str, route: &'static str, status: StatusCode) -> Counter {
        self.requests.get_or_create(&RequestLabels { method, route, status: status_name(status) }).clone()
    }

    fn count_refusal(&self, response: &Response) {
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            let code = response.extensions().get::<ProblemCode>().map_or("other", |code| code.as_str());
            self.refusals.get_or_create(&RefusalCode { code }).inc();
        }
    }

    /// For each code with a cause, the tally keeps one request as a sample.
    fn tally_failure(&self, request: &LoggedRequest, response: &Response) {
        let failure = response.extensions().get::<FailureForLog>();
        let code = failure.map_or("other", |failure| failure.code.as_str());
        let is_fault = matches!(code, "internal" | "database-fault");
        self.tally.count(code, is_fault, || {
            Some(Sample { text: request.describe_failure(failure?)?, trace: request.trace })
        });
    }
}

/// The names of routes as labels. A route becomes known with its first request and is kept until the process ends. Only the router names
/// routes, so there are few.
#[derive(Clone, Default)]
struct Routes(Arc<RwLock<HashMap<&'static str, &'static str>>>);

impl Routes {
    fn name(&self, route: &str) -> &'static str {
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(route) {
            return known;
        }
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(route) {
            return known;
        }
        let name: &'static str = Box::leak(route.into());
        names.insert(name, name);
        name
    }
}

fn status_class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

macro_rules! status_names {
    ($($status:literal)*) => {
        /// The statuses that have a label.
        const STATUSES: &[u16] = &[$($status,)*];

        /// The status as a label.
        fn status_name(status: StatusCode) -> &'static str {
            match status.as_u16() {
                $($status => stringify!($status),)*
                _ => "other",
            }
        }
    };
}

status_names! {
    200 201 202 203 204 205 206 301 302 303 304 307 308
    400 401 403 404 405 406 408 409 410 411 412 413 414 415 416 417 421 422 423 425 426 428 429 431 451
    500 501 502 503 504 505 507
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn every_problem_has_a_status_with_a_label() {
        for code in ProblemCode::ALL {
            assert_eq!(status_name(code.status()), code.status().as_str());
        }
        assert_eq!(status_name(StatusCode::IM_A_TEAPOT), "other");
    }

    #[test]
    fn requests_of_known_and_of_other_routes_are_counted_in_the_same_series() {
        let mut registry = MetricsRegistry::unexported();
        let metrics = ApiMetrics::register(&mut registry);
        let counts = RequestCounts::register(&mut registry, &metrics);
        let known = counts.clone().with_routes([String::from("(no route)")].iter());
        for (method, status) in
            [(Method::GET, 404), (Method::GET, 404), (Method::PATCH, 404), (Method::GET, 418)]
        {
            let request = LoggedRequest::new(&method, None, HeaderValue::from_static("id"));
            let mut response = Response::default();
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            counts.count(&request, &response, Duration::from_millis(1));
            known.count(&request, &response, Duration::from_millis(1));
        }
        let count = |method, status| {
            counts.requests.get_or_create(&RequestLabels { method, route: "(no route)", status }).get()
        };
        assert_eq!([count("GET", "404"), count("PATCH", "404"), count("GET", "other")], [4, 2, 2]);
        assert_eq!(metrics.refusals.get_or_create(&RefusalCode { code: "other" }).get(), 8);
        let durations = DurationLabels { route: "(no route)", status: "4xx" };
        assert_eq!(counts.durations.get_or_create(&durations).counts().iter().sum::<u64>(), 8);
    }

    #[test]
    fn a_route_keeps_its_label() {
        let routes = Routes::default();
        let route = String::from("/seats/{id}");
        let (first, again) = (routes.name("/seats/{id}"), routes.name(&route));
        assert!(std::ptr::eq(first, again));
        assert_eq!(routes.0.read().unwrap().len(), 1);
    }
}
