//! Every error that a client can receive, as a problem document (RFC 9457). Only this module maps errors to HTTP
//! statuses.
//!
//! Clients distinguish problems by `code`, an open set: new codes may be added. A 5xx has a fixed body. Its cause
//! travels with the response to the middleware, which logs it (`failure_for_log`).

mod code;
mod example;
mod failure_for_log;
mod rejection;

use std::borrow::Cow;
use std::error::Error;
use std::num::NonZeroU32;
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
pub use self::example::example;
pub use self::failure_for_log::{Cause, FailureForLog, is_logged};
use crate::http::retry_after::retry_after;

pub const PROBLEM_JSON: &str = "application/problem+json";

/// A problem document with the headers of its response.
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

/// An error (RFC 9457). Some problems have additional members.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(example = json!(example(ProblemCode::SeatsTaken).document()))]
pub struct ProblemDocument {
    /// URI of the kind of problem.
    r#type: String,
    /// Short description of the kind of problem.
    title: &'static str,
    /// The HTTP status code of the problem.
    status: u16,
    /// What is wrong and what to do.
    detail: Cow<'static, str>,
    /// Identifies the kind of problem. New codes may be added.
    code: Cow<'static, str>,
    #[serde(flatten)]
    #[schema(value_type = Object, additional_properties)]
    extensions: Map<String, Value>,
}

/// An invalid field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The path of the field: `userEmail`, `seatIds[1]`.
    pub field: String,
    /// What is wrong with it, to be read after the field's name.
    pub detail: String,
}

impl Problem {
    /// A problem with the usual detail of its code.
    pub fn of(code: ProblemCode) -> Self {
        Self::new(code, code.detail())
    }

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

    /// All invalid fields of a request, not only the first.
    pub fn invalid(errors: &[FieldError]) -> Self {
        let listed: Vec<String> =
            errors.iter().map(|error| format!("{} {}", error.field, error.detail)).collect();
        Self::new(ProblemCode::InvalidRequest, format!("{}.", listed.join("; ")))
            .with("errors", json!(errors))
    }

    pub fn invalid_field(field: &str, detail: impl ToString) -> Self {
        Self::invalid(&[FieldError { field: field.to_owned(), detail: detail.to_string() }])
    }

    /// The resource that the path names does not exist.
    pub fn not_found(resource: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("Unknown {resource}."))
    }

    /// The client has reached the rate limit.
    pub fn rate_limited(per_second: NonZeroU32) -> Self {
        let detail = format!(
            "A client may send {per_second} requests per second. Retry-After says when to try again."
        );
        Self::new(ProblemCode::TooManyRequests, detail)
    }

    /// An internal error. Its cause is logged and never sent to the client.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        let cause: Box<dyn Error + Send + Sync> = cause.into().into();
        Self::of(ProblemCode::Internal).with_cause(cause.into())
    }

    /// Adds the cause, for the log only.
    #[must_use]
    pub fn caused_by(self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.with_cause(Arc::new(cause))
    }

    fn with_cause(mut self, cause: Cause) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// Adds a member to the document.
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

    /// Adds `Retry-After`: `seconds`, or up to half as many more (see [`retry_after`]).
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with_header(RETRY_AFTER, retry_after(Some(seconds)))
    }

    /// Adds the ticket that the client can follow.
    #[must_use]
    pub fn about(mut self, ticket: TicketId) -> Self {
        self.0.ticket = Some(ticket);
        self.with("ticketId", json!(ticket)).with_header(LOCATION, ticket_location(ticket))
    }

    pub fn code(&self) -> ProblemCode {
        self.0.code
    }

    pub fn document(self) -> ProblemDocument {
        self.0.document
    }
}

/// The URL of a ticket's status.
pub fn ticket_location(ticket: TicketId) -> HeaderValue {
    HeaderValue::try_from(format!("/ticket-bookings/{ticket}")).expect("a UUID is ASCII")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Inner { code, document, headers, ticket, cause } = *self.0;
        let status = code.status();
        let content_type = [(CONTENT_TYPE, PROBLEM_JSON)];
        let mut response = (status, headers, content_type, axum::Json(document)).into_response();
        // The middleware counts it.
        response.extensions_mut().insert(code);
        if is_logged(status) {
            response.extensions_mut().insert(FailureForLog { code, ticket, cause });
        }
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::of(ProblemCode::Overloaded).retry_after(2).caused_by(error);
        }
        if is_transient(&error) {
            return Self::of(ProblemCode::DatabaseUnavailable).retry_after(2).caused_by(error);
        }
        if needs_repair(&error) {
            return Self::of(ProblemCode::DatabaseFault).retry_after(10).caused_by(error);
        }
        Self::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use hamro_shared::domain::{Amount, ConcertId, Rejection, SeatId, SeatLabel, Timestamp};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn rejection_problems_match_the_snapshot() {
        let seats = [21, 22].map(|id| SeatLabel {
            id: SeatId(id),
            section: "front".to_owned(),
            row: 1,
            seat_number: format!("F-{}", id - 20),
        });
        let (seat_ids, seats) = (vec![SeatId(21), SeatId(22)], seats.to_vec());
        let moment = Timestamp::from_unix_millis(1_795_364_062_341).unwrap();
        let rejections = [
            Rejection::SeatsTaken { seat_ids: seat_ids.clone(), seats: seats.clone() },
            Rejection::SoldOut { seat_ids: seat_ids.clone(), seats: seats.clone() },
            Rejection::SeatsNotFound {
                seat_ids: seat_ids.clone(),
                seats: Some(seats[1..].to_vec()),
                missing_concert_id: None,
            },
            Rejection::SeatsNotFound {
                seat_ids,
                seats: Some(Vec::new()),
                missing_concert_id: Some(ConcertId(Uuid::from_u128(7))),
            },
            Rejection::SaleNotOpen { opens_at: moment },
            Rejection::SaleClosed { closed_at: moment },
            Rejection::PriceChanged {
                total: Amount::parse("99.00").unwrap(),
                expected_total: Amount::parse("20.00").unwrap(),
            },
            Rejection::LimitReached {
                concert_id: ConcertId(Uuid::from_u128(7)),
                limit: 4,
                held_seats: Some(3),
            },
            Rejection::IdempotencyKeyReused,
        ];
        let documents = rejections.map(|rejection| Problem::from(rejection).document());
        insta::assert_json_snapshot!(documents);
    }

    #[test]
    fn an_internal_problem_does_not_reveal_its_cause() {
        let response = Problem::internal(anyhow::anyhow!("the password is hunter2"));
        assert!(!serde_json::to_string(&response.document()).unwrap().contains("hunter2"));
    }

    #[test]
    fn a_problem_about_a_ticket_links_to_its_status() {
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
