//! How long a client is willing to wait: the `Prefer` header (RFC 7240) and the `wait` parameter.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::{AppendHeaders, IntoResponseParts};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::extract::FieldErrors;
use crate::http::problem::Problem;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// The upper limit of `MAX_WAIT` and `BOOKING_WAIT`.
pub const MAX_HOLD: Duration = Duration::from_mins(1);

/// The client's preferences. Unknown or malformed ones are ignored (RFC 7240, section 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefer {
    /// Seconds to wait for an outcome.
    wait: Option<u64>,
    /// Respond without the outcome: at once, or with `wait` once that time has passed.
    respond_async: bool,
    /// Whether the request is a `HEAD`, which is never held: its response contains nothing to wait for.
    is_head: bool,
}

/// How long to hold a request, and what to report in `Preference-Applied`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitPreference {
    seconds: u64,
    /// Whether the wait comes from `Prefer`.
    from_header: bool,
    respond_async: bool,
}

/// The `wait` parameter of a query.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WaitParams {
    /// Seconds to hold the response until the status is final. The server caps the wait, by default at 30 seconds.
    #[param(value_type = Option<u64>, minimum = 0, maximum = 3600, example = 10)]
    wait: Option<String>,
}

impl Prefer {
    fn parse(method: &Method, headers: &HeaderMap) -> Self {
        let mut prefer = Self { is_head: method == Method::HEAD, ..Self::default() };
        let values = headers.get_all(PREFER).into_iter().filter_map(|value| value.to_str().ok());
        for preference in values.flat_map(|value| value.split(',')) {
            // Parameters of a preference follow a semicolon. The supported preferences have none.
            let token = preference.split(';').next().unwrap_or_default().trim();
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            let value = value.trim().trim_matches('"');
            let is_named = |known: &str| name.trim().eq_ignore_ascii_case(known);
            // The first of several wins.
            if prefer.wait.is_none() && is_named("wait") {
                prefer.wait = value.parse().ok();
            } else if is_named("respond-async") {
                prefer.respond_async = true;
            }
        }
        prefer
    }

    /// How long to wait, at most `max`.
    pub fn hold(self, max: Duration) -> WaitPreference {
        if self.is_head {
            return WaitPreference::NONE;
        }
        let seconds = self.wait.unwrap_or(0).min(max.as_secs());
        WaitPreference { seconds, from_header: self.wait.is_some(), respond_async: self.respond_async }
    }
}

impl WaitParams {
    /// How long to wait, at most `max`. The parameter overrides `Prefer`.
    pub fn hold(self, prefer: Prefer, max: Duration) -> Result<WaitPreference, Problem> {
        let Some(text) = self.wait else { return Ok(prefer.hold(max)) };
        let mut fields = FieldErrors::default();
        let parsed = text.parse::<u64>().ok().filter(|seconds| *seconds <= 3600);
        let seconds = fields.check("wait", parsed.ok_or("must be a number of seconds from 0 to 3600"));
        let hold = |seconds: u64| {
            let seconds = if prefer.is_head { 0 } else { seconds.min(max.as_secs()) };
            WaitPreference { seconds, ..WaitPreference::NONE }
        };
        fields.finish(seconds.map(hold))
    }
}

impl WaitPreference {
    const NONE: Self = Self { seconds: 0, from_header: false, respond_async: false };

    pub fn duration(self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The same without the wait, if the server cannot hold the response. A preference may be ignored.
    #[must_use]
    pub fn without_wait(self) -> Self {
        Self { seconds: 0, from_header: false, ..self }
    }

    pub fn is_zero(self) -> bool {
        self.seconds == 0
    }

    /// `Preference-Applied` if a preference was applied, and `Vary`, because the response depends on `Prefer`.
    pub fn headers(self) -> impl IntoResponseParts {
        let applied = match (self.from_header, self.respond_async) {
            (true, true) => Some(format!("respond-async, wait={}", self.seconds)),
            (true, false) => Some(format!("wait={}", self.seconds)),
            (false, true) => Some("respond-async".to_owned()),
            (false, false) => None,
        };
        let applied = applied.and_then(|applied| HeaderValue::try_from(applied).ok());
        let vary = (axum::http::header::VARY, HeaderValue::from_static("prefer"));
        AppendHeaders(
            [Some(vary), applied.map(|applied| (PREFERENCE_APPLIED, applied))]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        )
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Prefer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(&parts.method, &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefer(values: &[&'static str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_static(value));
        }
        Prefer::parse(&Method::GET, &headers)
    }

    #[test]
    fn preferences_are_parsed_as_rfc_7240_defines() {
        let wait = |seconds| Prefer { wait: Some(seconds), ..Prefer::default() };
        assert_eq!(prefer(&["wait=10"]), wait(10));
        assert_eq!(prefer(&["handling=lenient, Wait = \"5\" ; foo=bar"]), wait(5));
        assert_eq!(prefer(&["wait=1", "wait=2"]), wait(1));
        assert_eq!(prefer(&["respond-async, wait=3"]), Prefer { respond_async: true, ..wait(3) });
        for ignored in ["", "wait", "wait=soon", "wait=-1", "return=minimal", ",;=,"] {
            assert_eq!(prefer(&[ignored]), Prefer::default(), "{ignored}");
        }
    }

    #[test]
    fn the_wait_is_capped_at_the_maximum() {
        let max = Duration::from_secs(30);
        assert_eq!(prefer(&["wait=600"]).hold(max).duration(), max);
        let params = |wait: &str| WaitParams { wait: Some(wait.to_owned()) }.hold(Prefer::default(), max);
        assert_eq!(params("3600").ok().map(WaitPreference::duration), Some(max));
        assert_eq!(params("2").ok().map(WaitPreference::duration), Some(Duration::from_secs(2)));
        for wrong in ["-1", "3601", "soon", "1.5"] {
            assert!(params(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_head_request_is_not_held() {
        let max = Duration::from_secs(30);
        let headers = HeaderMap::from_iter([(PREFER, HeaderValue::from_static("wait=10"))]);
        let head = Prefer::parse(&Method::HEAD, &headers);
        assert_eq!(head.hold(max), WaitPreference::NONE);
        let params = WaitParams { wait: Some("10".to_owned()) };
        assert_eq!(params.hold(head, max).ok(), Some(WaitPreference::NONE));
        assert!(WaitParams { wait: Some("soon".to_owned()) }.hold(head, max).is_err());
    }
}
