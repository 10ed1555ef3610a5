use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use hamro_shared::database::tickets;
use hamro_shared::domain::{Booking, Outcome, Ticket};

use super::BookingBody;
use super::enqueue::{accept_error_problem, admit, check_workers, enqueue, reject_early};
use super::status::booking_or_problem;
use super::trace::wait_span;
use super::wait::hold_required;
use crate::broker::publisher::AcceptError;
use crate::http::client_address::Client;
use crate::http::extract::{IdempotencyKeyHeader, IdempotencyKeyParam, JsonBody};
use crate::http::openapi::{BOOKINGS, BookingProblems, OutcomeUnknownProblem};
use crate::http::problem::{Problem, ProblemCode, ticket_location};
use crate::outcomes::OutcomeWaiter;
use crate::server::request_span::RequestTrace;
use crate::state::AppState;

/// Pause before the next attempt to fence, if this instance's clock is slightly ahead of the database's.
const FENCE_RETRY_DELAY: Duration = Duration::from_millis(20);

/// Create a booking and wait for its outcome
///
/// The earlier system's endpoint. The booking goes through the same queue, and the response is sent once the outcome is
/// known. A booking that is not settled within 10 seconds (by default) is cancelled. Seats that are known to be sold are
/// rejected at once: such a `409` has no ticket and no `Location`.
#[utoipa::path(
    post,
    path = "/ticket-bookings/seats",
    operation_id = "book_seats",
    tag = BOOKINGS,
    security(),
    params(IdempotencyKeyParam),
    request_body = BookingBody,
    responses(
        (status = 201, description = "The seats are booked", body = Booking, headers(
            ("Location" = String, description = "URL of the ticket's status"),
        )),
        BookingProblems, OutcomeUnknownProblem,
    ),
)]
pub async fn book_seats(
    State(app): State<AppState>,
    client: Client,
    RequestTrace(trace): RequestTrace,
    key: Option<IdempotencyKeyHeader>,
    JsonBody(body): JsonBody<BookingBody>,
) -> Result<Response, Problem> {
    let request = body.parse(app.policy.max_seats)?;
    // Before the booking is published: without the wait, its client could not be told the ticket.
    let _held = hold_required(&app, client)?;
    admit(&app, &request)?;
    let key = key.map(|IdempotencyKeyHeader(key)| key);
    reject_early(&app, &request, key.as_ref())?;
    check_workers(&app, &request).await?;
    let ticket = app.issue_ticket(app.policy.booking_wait);
    let waiter = app.outcomes.wait_for(ticket.id);
    match enqueue(&app, ticket, key, request, trace).await {
        // Even if it is unknown whether the booking was accepted, the fence below gives the ticket an outcome.
        Ok(()) | Err(AcceptError::Unknown) => {}
        Err(error) => return Err(accept_error_problem(&app, error, ticket)),
    }
    let mut span = wait_span(&app, trace, ticket.id);
    let outcome = await_or_expire(&app, ticket, waiter).await?;
    if let Some(span) = &mut span {
        span.set("booking.outcome", outcome.code());
    }
    drop(span);
    let location = ticket_location(ticket.id);
    match booking_or_problem(outcome) {
        Ok(booking) => Ok((StatusCode::CREATED, [(LOCATION, location)], Json(booking)).into_response()),
        Err(problem) => Err(problem.with_header(LOCATION, location)),
    }
}

/// Waits for the ticket's outcome. At its deadline the ticket is fenced, so that it cannot be sold after the response.
async fn await_or_expire(
    app: &AppState,
    ticket: Ticket,
    mut waiter: OutcomeWaiter,
) -> Result<Outcome, Problem> {
    let Ticket { id, deadline } = ticket;
    let mut remaining = app.clock.now().until(deadline);
    loop {
        if let Some(settled) = waiter.wait_for_outcome(remaining).await {
            return Ok(settled.outcome.clone());
        }
        let fencing =
            app.database.write(move |connection| Box::pin(tickets::expire(connection, id, deadline)));
        let unknown = Problem::of(ProblemCode::OutcomeUnknown).about(id);
        match Box::pin(fencing).await {
            // Cached, because an instance must not report `queued` after a final status.
            Ok(Some(Ok(settled))) => return Ok(app.outcomes.record(settled).outcome.clone()),
            Ok(Some(Err(unreadable))) => {
                app.outcomes.log_unreadable(&unreadable);
                return Err(unknown);
            }
            // By the database's clock, the deadline has not passed yet.
            Ok(None) => remaining = FENCE_RETRY_DELAY,
            Err(error) => return Err(unknown.caused_by(error)),
        }
    }
}
