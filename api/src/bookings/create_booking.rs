use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hamro_shared::domain::Booking;

use super::enqueue::{enqueue, publish_error_problem};
use super::status::booking_or_problem;
use super::{BookingBody, TicketStatus};
use crate::http::extract::{IdempotencyKeyHeader, IdempotencyKeyParam, JsonBody};
use crate::http::openapi::{BOOKINGS, BookingProblems};
use crate::http::prefer::Prefer;
use crate::http::problem::{Problem, ticket_location};
use crate::http::retry_after::retry_after;
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
    params(
        IdempotencyKeyParam,
        ("Prefer" = Option<String>, Header, nullable = false, example = "wait=10",
            description = "`wait=10`: hold the answer for up to that many seconds, and answer with the outcome if there is \
                           one by then (RFC 7240)"),
    ),
    request_body = BookingBody,
    responses(
        (status = 202, description = "In the queue", body = TicketStatus, headers(
            ("Location" = String, description = "Where the ticket's status is found"),
            ("Retry-After" = u64, description = "In how many seconds to ask for it"),
        ), links(
            ("status" = (operation_id = "get_booking", parameters(("ticketId" = "$response.body#/ticketId")))),
            ("events" = (operation_id = "follow_booking", parameters(("ticketId" = "$response.body#/ticketId")))),
        )),
        (status = 201, description = "Booked, while `Prefer: wait` held the answer", body = Booking, headers(
            ("Location" = String, description = "Where the ticket's status is found"),
        )),
        BookingProblems,
    ),
)]
pub async fn create_booking(
    State(app): State<AppState>,
    key: Option<IdempotencyKeyHeader>,
    prefer: Prefer,
    JsonBody(body): JsonBody<BookingBody>,
) -> Result<Response, Problem> {
    let request = body.parse(app.policy.max_seats)?;
    let ticket = app.issue_ticket(app.policy.booking_deadline);
    let preference = prefer.hold(app.policy.max_wait);
    // Before it is published, so that its outcome cannot come in between.
    let waiter = (!preference.is_none()).then(|| app.outcomes.wait_for(ticket.id));
    enqueue(&app, ticket, key.map(|IdempotencyKeyHeader(key)| key), request)
        .await
        .map_err(|error| publish_error_problem(&app, error, ticket))?;
    let location = (LOCATION, ticket_location(ticket.id));
    if let Some(mut waiter) = waiter
        && let Some(settled) = waiter.outcome_unless(&app.stopping, preference.duration()).await
    {
        // As the earlier endpoint answers.
        return Ok(match booking_or_problem(settled.outcome.clone()) {
            Ok(booking) => {
                (StatusCode::CREATED, preference.headers(), [location], Json(booking)).into_response()
            }
            Err(problem) => (preference.headers(), [location], problem).into_response(),
        });
    }
    let position = app.position(ticket.id);
    let headers = [
        location,
        (RETRY_AFTER, retry_after(position.eta_seconds)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let status = Json(TicketStatus::queued(ticket.id, position));
    Ok((StatusCode::ACCEPTED, preference.headers(), headers, status).into_response())
}
