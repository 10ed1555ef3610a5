use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hamro_shared::domain::Booking;

use super::enqueue::{accept_error_problem, admit, check_workers, enqueue, reject_early};
use super::status::booking_or_problem;
use super::trace::{end_wait, wait_span};
use super::wait::hold_preferred;
use super::{BookingBody, TicketStatus};
use crate::http::client_address::Client;
use crate::http::extract::{IdempotencyKeyHeader, IdempotencyKeyParam, JsonBody};
use crate::http::openapi::{BOOKINGS, BookingProblems};
use crate::http::prefer::Prefer;
use crate::http::problem::{Problem, ticket_location};
use crate::http::retry_after::retry_after;
use crate::server::request_span::RequestTrace;
use crate::state::AppState;

/// Create a booking
///
/// Puts the booking into the queue and returns a ticket to follow. Whether the seats exist and are available is checked
/// when the booking is settled. Seats that are known to be sold are rejected at once: such a `409` has no ticket and no
/// `Location`, and does not hold the idempotency key.
#[utoipa::path(
    post,
    path = "/ticket-bookings",
    operation_id = "create_booking",
    tag = BOOKINGS,
    security(),
    params(
        IdempotencyKeyParam,
        ("Prefer" = Option<String>, Header, nullable = false, example = "wait=10",
            description = "`wait=10`: hold the response for up to 10 seconds, and respond with the outcome if it is known by \
                           then (RFC 7240)"),
    ),
    request_body = BookingBody,
    responses(
        (status = 202, description = "The booking is in the queue", body = TicketStatus, headers(
            ("Location" = String, description = "URL of the ticket's status"),
            ("Retry-After" = u64, description = "Seconds to wait before polling the status"),
        ), links(
            ("status" = (operation_id = "get_booking", parameters(("ticketId" = "$response.body#/ticketId")))),
            ("events" = (operation_id = "follow_booking", parameters(("ticketId" = "$response.body#/ticketId")))),
        )),
        (status = 201, description = "The seats are booked. Only with `Prefer: wait`", body = Booking, headers(
            ("Location" = String, description = "URL of the ticket's status"),
        )),
        BookingProblems,
    ),
)]
pub async fn create_booking(
    State(app): State<AppState>,
    client: Client,
    RequestTrace(trace): RequestTrace,
    key: Option<IdempotencyKeyHeader>,
    prefer: Prefer,
    JsonBody(body): JsonBody<BookingBody>,
) -> Result<Response, Problem> {
    let request = body.parse(app.policy.max_seats)?;
    admit(&app, &request)?;
    let key = key.map(|IdempotencyKeyHeader(key)| key);
    reject_early(&app, &request, key.as_ref())?;
    check_workers(&app, &request).await?;
    let ticket = app.issue_ticket(app.policy.booking_deadline);
    let (preference, _held) = hold_preferred(&app, client, prefer.hold(app.policy.max_wait));
    // Registered before the booking is published, so that its outcome cannot be missed.
    let waiter = (!preference.is_zero()).then(|| app.outcomes.wait_for(ticket.id));
    enqueue(&app, ticket, key, request, trace)
        .await
        .map_err(|error| accept_error_problem(&app, error, ticket))?;
    let location = (LOCATION, ticket_location(ticket.id));
    if let Some(mut waiter) = waiter {
        let span = wait_span(&app, trace, ticket.id);
        let settled = waiter.wait_for_outcome_or_stop(&app.stopping, preference.duration()).await;
        end_wait(span, settled.as_deref());
        if let Some(settled) = settled {
            // `book_seats` sends the same response.
            return Ok(match booking_or_problem(settled.outcome.clone()) {
                Ok(booking) => {
                    (StatusCode::CREATED, preference.headers(), [location], Json(booking)).into_response()
                }
                Err(problem) => (preference.headers(), [location], problem).into_response(),
            });
        }
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
