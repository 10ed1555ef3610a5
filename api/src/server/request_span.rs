//! The span of a request in the trace of a booking, and what handlers need of it. docs/TRACING.md describes the spans.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use hamro_shared::telemetry::traces::{ActiveSpan, Extractor, KeyValue, TraceContext, Traces};

use super::logged_request::LoggedRequest;
use super::middleware::is_internal;
use crate::http::problem::ProblemCode;

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The span of the request that is being handled, if it is sampled. Handlers give their spans this parent.
#[derive(Clone, Copy, Debug)]
pub struct RequestTrace(pub Option<TraceContext>);

impl<S: Sync> FromRequestParts<S> for RequestTrace {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get().copied()))
    }
}

/// Starts the span, unless traces are off, the request is not sampled, or it is a health check, the metrics or a file of the
/// booking page. Neither the path nor the query is an attribute: they contain tickets.
pub fn start(traces: &Traces, request: &mut Request, logged: &LoggedRequest) -> Option<ActiveSpan> {
    let path = request.uri().path();
    if !traces.is_enabled() || is_internal(path) || path == "/metrics" {
        return None;
    }
    let route = request.extensions().get::<MatchedPath>();
    let name = || match route {
        Some(route) => Cow::Owned(format!("{} {}", logged.method, route.as_str())),
        None => Cow::Borrowed(logged.method),
    };
    let attributes = || {
        let method = KeyValue::new("http.request.method", logged.method);
        let route = route.map(|route| KeyValue::new("http.route", route.as_str().to_owned()));
        [method, KeyValue::new("url.scheme", "http")].into_iter().chain(route).collect()
    };
    let span = traces.start_for_caller(&Caller(request.headers()), name, attributes)?;
    request.extensions_mut().insert(span.context());
    Some(span)
}

/// Ends the span as the response begins, with the code of its problem.
pub fn end(span: ActiveSpan, response: &Response) {
    let mut span = span;
    let status = response.status();
    span.set("http.response.status_code", i64::from(status.as_u16()));
    let code = response.extensions().get().map(|code: &ProblemCode| code.as_str());
    match code {
        _ if status.is_server_error() => span.fail(code.unwrap_or("other")),
        Some(code) => span.set("error.type", code),
        None => {}
    }
}

/// What a caller says about its trace. Several `traceparent` headers name none: they contradict each other.
struct Caller<'a>(&'a HeaderMap);

impl Extractor for Caller<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        let mut values = self.0.get_all(key).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_traceparents_count_as_none() {
        let mut headers = HeaderMap::new();
        headers
            .append(TRACEPARENT, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
        assert!(Caller(&headers).get("traceparent").is_some());
        headers
            .append(TRACEPARENT, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".parse().unwrap());
        assert_eq!(Caller(&headers).get("traceparent"), None);
    }
}
