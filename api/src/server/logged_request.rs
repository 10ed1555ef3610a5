//! What the log says about a request. Clients choose methods, paths and headers of any length, and a path may contain a
//! ticket id. So only the names of known methods, routes, and valid request ids are logged, and the text of a cause is
//! cut.

use std::fmt::{self, Display, Write};

use axum::extract::MatchedPath;
use axum::http::{HeaderValue, Method};
use hamro_shared::telemetry::traces::TraceContext;

use crate::http::problem::FailureForLog;

/// The longest text of a cause. The error of a library may quote its input.
const MAX_CAUSE_LENGTH: usize = 1_000;

/// A request, as the log names it.
pub struct LoggedRequest {
    pub method: &'static str,
    route: Option<MatchedPath>,
    id: HeaderValue,
    /// Its span, if its trace is exported.
    pub trace: Option<TraceContext>,
}

impl LoggedRequest {
    /// `id` must be valid: see [`request_id`](super::request_id::request_id).
    pub fn new(method: &Method, route: Option<MatchedPath>, id: HeaderValue) -> Self {
        Self { method: method_name(method), route, id, trace: None }
    }

    /// The route, which names the parameters of the path and not their values.
    pub fn route(&self) -> &str {
        self.route.as_ref().map_or("(no route)", MatchedPath::as_str)
    }

    pub fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    pub fn into_id(self) -> HeaderValue {
        self.id
    }

    /// The request with its ticket and the cause of its failure. `None` if the failure has no cause.
    pub fn describe_failure(&self, failure: &FailureForLog) -> Option<String> {
        let cause = failure.cause_text()?;
        let mut line = self.to_string();
        if let Some(ticket) = failure.ticket {
            let _ = write!(line, ", ticket {ticket}");
        }
        let _ = write!(line, ": {}", Cut(&cause));
        Some(line)
    }
}

impl Display for LoggedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, request {}", self.method, self.route(), self.id())
    }
}

/// The name of a standard method. A client may send any other name.
pub(super) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "(other method)",
    }
}

/// The beginning of a text, and how much is missing.
struct Cut<'a>(&'a str);

impl Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = *self;
        if text.len() <= MAX_CAUSE_LENGTH {
            return f.write_str(text);
        }
        let end = text.floor_char_boundary(MAX_CAUSE_LENGTH);
        write!(f, "{}… ({} more bytes)", &text[..end], text.len() - end)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;
    use crate::http::problem::ProblemCode;

    fn failure(cause: String) -> FailureForLog {
        let cause = Arc::new(io::Error::other(cause));
        FailureForLog { code: ProblemCode::Internal, ticket: None, cause: Some(cause) }
    }

    #[test]
    fn the_name_of_an_unknown_method_is_not_logged() {
        let id = HeaderValue::from_static("mine");
        let method = Method::from_bytes(&[b'A'; 10_000]).unwrap();
        let line = LoggedRequest::new(&method, None, id.clone()).describe_failure(&failure("why".into()));
        assert_eq!(line.unwrap(), "(other method) (no route), request mine: why");
        for known in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"] {
            let method = Method::from_bytes(known.as_bytes()).unwrap();
            assert_eq!(LoggedRequest::new(&method, None, id.clone()).method, known);
        }
    }

    #[test]
    fn a_long_cause_is_cut_between_two_characters() {
        let request = LoggedRequest::new(&Method::GET, None, HeaderValue::from_static("mine"));
        let line = request.describe_failure(&failure("ä€".repeat(10_000))).unwrap();
        assert!(line.len() < MAX_CAUSE_LENGTH + 100, "{line}");
        assert!(line.ends_with("… (49000 more bytes)"), "{line}");
    }
}
