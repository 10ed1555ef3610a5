//! Every error that a client can meet, as a problem document (RFC 9457). This is the one place that knows which HTTP
//! status goes with what.
//!
//! A client tells problems apart by `code`, an open set: new ones may be added. A 5xx has a fixed body; its cause goes with
//! the response as far as the middleware, which logs it (`refusal`).

mod code;
mod refusal;
mod rejection;

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;

use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use hamro_shared::database::{is_transient, needs_repair};
use hamro_shared::domain::TicketId;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

pub use self::code::ProblemCode;
pub use self::refusal::{Cause, Refusal, is_logged};
use crate::http::retry_after::retry_after;

pub const PROBLEM_JSON: &str = "application/problem+json";

/// A problem, ready to be answered.
#[derive(Clone, Debug)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: ProblemCode,
    document: ProblemDocument,
    headers: HeaderMap,
    ticket: Option<TicketId>,
    cause: Option<Cause>,
}

/// An error, as RFC 9457 has it. `code` names the problem; some problems add members of their own.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!({
    "type": "urn:hamro-concert:problem:seats-taken",
    "title": "Somebody else has these seats",
    "status": 409,
    "detail": "Seats 21 and 22 are taken. Choose others.",
    "code": "seats-taken",
    "seatIds": [21, 22],
}))]
pub struct ProblemDocument {
    /// A URI that names the kind of problem.
    r#type: String,
    /// What kind of problem it is, for people.
    title: &'static str,
    /// The HTTP status that goes with it.
    status: u16,
    /// What went wrong this time and what to do about it, for people.
    detail: Cow<'static, str>,
    /// What kind of problem it is, for programs.
    code: Cow<'static, str>,
    #[serde(flatten)]
    #[schema(value_type = Object, additional_properties)]
    extensions: Map<String, Value>,
}

/// A field of a request and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where it is: `userEmail`, `seatIds[1]`.
    pub field: String,
    /// What it should be.
    pub detail: String,
}

impl Problem {
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let document = ProblemDocument {
            r#type: format!("urn:hamro-concert:problem:{}", code.as_str()),
            title: code.title(),
            status: code.status().as_u16(),
            detail: detail.into(),
            code: code.as_str().into(),
            extensions: Map::new(),
        };
        Self(Box::new(Inner { code, document, headers: HeaderMap::new(), ticket: None, cause: None }))
    }

    /// The fields of a request that are wrong: all of them, not just the first.
    pub fn invalid(errors: &[FieldError]) -> Self {
        let listed: Vec<String> =
            errors.iter().map(|error| format!("{} {}", error.field, error.detail)).collect();
        Self::new(ProblemCode::InvalidRequest, format!("{}.", listed.join("; ")))
            .with("errors", json!(errors))
    }

    pub fn invalid_field(field: &str, detail: impl ToString) -> Self {
        Self::invalid(&[FieldError { field: field.to_owned(), detail: detail.to_string() }])
    }

    /// The thing that a path names does not exist.
    pub fn not_found(what: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("There is no such {what}."))
    }

    /// A fault of ours. The client learns nothing of it; the log everything.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        let cause: Box<dyn Error + Send + Sync> = cause.into().into();
        Self::noted().because_of(cause.into())
    }

    /// A fault of ours whose cause is in the log already.
    pub fn noted() -> Self {
        Self::new(ProblemCode::Internal, "The fault is ours and has been noted. Try again later.")
    }

    /// With what is behind it, for the log.
    #[must_use]
    pub fn because(self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.because_of(Arc::new(cause))
    }

    fn because_of(mut self, cause: Cause) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// With a member of its own.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.document.extensions.insert(name.to_owned(), value);
        self
    }

    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// Asks the client to come back in so many seconds, or up to half as many more.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_header(RETRY_AFTER, retry_after(Some(seconds)))
    }

    /// Names the ticket whose fate the client can follow.
    #[must_use]
    pub fn about(mut self, ticket: TicketId) -> Self {
        self.0.ticket = Some(ticket);
        self.with("ticketId", json!(ticket)).with_header(LOCATION, ticket_location(ticket))
    }

    pub fn document(self) -> ProblemDocument {
        self.0.document
    }
}

/// Where a ticket's status is found.
pub fn ticket_location(ticket: TicketId) -> HeaderValue {
    HeaderValue::try_from(format!("/ticket-bookings/{ticket}")).expect("a UUID is ASCII")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Inner { code, document, headers, ticket, cause } = *self.0;
        let status = code.status();
        let content_type = [(CONTENT_TYPE, PROBLEM_JSON)];
        let mut response = (status, headers, content_type, axum::Json(document)).into_response();
        if is_logged(status) {
            response.extensions_mut().insert(Refusal { code, ticket, cause });
        }
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            let detail = "Too many requests are waiting. Try again in a moment.";
            return Self::new(ProblemCode::Overloaded, detail).retry_after(2).because(error);
        }
        if is_transient(&error) {
            return Self::new(ProblemCode::DatabaseUnavailable, "Try again in a moment.")
                .retry_after(2)
                .because(error);
        }
        if needs_repair(&error) {
            let detail = "The fault is ours and has been noted. Try again later.";
            return Self::new(ProblemCode::DatabaseFault, detail).retry_after(10).because(error);
        }
        Self::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use hamro_shared::domain::{Rejection, SeatId, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_problems_of_a_rejection_are_as_agreed() {
        let seat_ids = vec![SeatId(21), SeatId(22)];
        let moment = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        let rejections = [
            Rejection::SeatsTaken { seat_ids: seat_ids.clone() },
            Rejection::SoldOut { seat_ids: seat_ids.clone() },
            Rejection::SeatsNotFound { seat_ids },
            Rejection::SaleNotOpen { opens_at: moment },
            Rejection::SaleClosed { closed_at: moment },
            Rejection::IdempotencyKeyReused,
        ];
        let documents = rejections.map(|rejection| Problem::from(rejection).document());
        insta::assert_json_snapshot!(documents);
    }

    #[test]
    fn an_internal_error_shows_nothing_of_its_cause() {
        let response = Problem::internal(anyhow::anyhow!("the password is hunter2"));
        assert!(!serde_json::to_string(&response.document()).unwrap().contains("hunter2"));
    }

    #[test]
    fn a_problem_about_a_ticket_says_where_to_follow_it() {
        let ticket = TicketId(Uuid::from_u128(7));
        let response =
            Problem::new(ProblemCode::OutcomeUnknown, "…").about(ticket).retry_after(3).into_response();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(response.headers()[LOCATION], format!("/ticket-bookings/{ticket}"));
        let seconds: u64 = response.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((3..=5).contains(&seconds), "{seconds}");
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
    }
}
