use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use axum::response::{IntoResponse, Response};

use super::accept::{enqueue, not_accepted};
use super::{BookingBody, TicketStatus};
use crate::extract::{Body, IdempotencyKeyHeader};
use crate::openapi::{BOOKINGS, BodyProblems};
use crate::problem::{Problem, ProblemDocument, ticket_location};
use crate::state::AppState;

/// Ask for seats
///
/// Takes the request into the queue and answers at once, with a ticket to follow. That the seats exist and are free
/// is found out when the booking's turn comes.
#[utoipa::path(
    post,
    path = "/ticket-bookings",
    operation_id = "create_booking",
    tag = BOOKINGS,
    params(("Idempotency-Key" = Option<String>, Header,
        description = "Up to 255 printable characters of your choice. A retry with the same key books nothing twice: \
                       its ticket shares the outcome of the first.")),
    request_body = BookingBody,
    responses(
        (status = 202, description = "In the queue", body = TicketStatus, headers(
            ("Location" = String, description = "Where the ticket's status is found"),
            ("Retry-After" = u64, description = "In how many seconds to ask for it"),
        )),
        BodyProblems,
        (status = 503, description = "The queue is full, or the broker cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn create_booking(
    State(app): State<AppState>,
    key: Option<IdempotencyKeyHeader>,
    Body(body): Body<BookingBody>,
) -> Result<Response, Problem> {
    let request = body.parse(app.rules.max_seats)?;
    let ticket = app.issue_ticket(app.rules.booking_deadline);
    enqueue(&app, ticket, key.map(|IdempotencyKeyHeader(key)| key), request)
        .await
        .map_err(|error| not_accepted(error, ticket))?;
    let headers = [
        (LOCATION, ticket_location(ticket.id)),
        (RETRY_AFTER, 1.into()),
        (CACHE_CONTROL, axum::http::HeaderValue::from_static("no-store")),
    ];
    Ok((StatusCode::ACCEPTED, headers, axum::Json(TicketStatus::queued(ticket.id))).into_response())
}
