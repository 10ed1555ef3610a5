//! Counts requests and their responses: in metrics since the start of the process, and in the log those that were refused or
//! failed in the last second ([`Tally`]). Both are counted in one place, so that they agree.
//!
//! The labels of a request have few values, whatever clients send: the names of standard methods, the routes of the router,
//! and fixed names for everything else.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
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
    tally: Arc<Tally>,
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

    /// The requests and connections that were refused or failed in the last second.
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Counts a request that has reached the router.
    pub fn count(&self, request: &LoggedRequest, response: &Response, duration: Duration) {
        let status = response.status();
        if !cfg!(feature = "without-metrics") {
            let route = self.routes.name(request.route());
            self.count_response(request.method, route, response);
            let labels = DurationLabels { route, status: status_class(status) };
            self.durations.get_or_create(&labels).observe_duration(duration);
        }
        if is_logged(status) {
            self.tally_failure(request, response);
        }
    }

    /// Counts a request that has not.
    pub fn count_unrouted(&self, unrouted: Unrouted, method: &Method, response: &Response) {
        self.count_response(method_name(method), unrouted.route(), response);
    }

    fn count_response(&self, method: &'static str, route: &'static str, response: &Response) {
        let status = response.status();
        let labels = RequestLabels { method, route, status: status_name(status) };
        self.requests.get_or_create(&labels).inc();
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

/// The names of routes as labels. A route becomes known with its first request and is kept for ever. Only the router names
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
    use super::*;

    #[test]
    fn every_problem_has_a_status_with_a_label() {
        for code in ProblemCode::ALL {
            assert_eq!(status_name(code.status()), code.status().as_str());
        }
        assert_eq!(status_name(StatusCode::IM_A_TEAPOT), "other");
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
