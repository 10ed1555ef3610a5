use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use hamro_shared::database::tickets;
use hamro_shared::domain::{Booking, Outcome, Ticket};

use super::BookingBody;
use super::enqueue::{enqueue, publish_error_problem};
use super::status::booking_or_problem;
use crate::broker::publisher::PublishError;
use crate::http::extract::{IdempotencyKeyHeader, IdempotencyKeyParam, JsonBody};
use crate::http::openapi::{BOOKINGS, BookingProblems, OutcomeUnknownProblem};
use crate::http::problem::{Problem, ProblemCode, ticket_location};
use crate::outcomes::OutcomeWaiter;
use crate::state::AppState;

/// Pause before the next try where our clock is a little ahead of the database's.
const FENCE_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// Book seats, and wait for the outcome
///
/// The earlier system's endpoint. The booking goes through the same queue; the answer comes once it is settled, and
/// within 10 seconds by default: a booking whose turn has not come by then is called off.
#[utoipa::path(
    post,
    path = "/ticket-bookings/seats",
    operation_id = "book_seats",
    tag = BOOKINGS,
    params(IdempotencyKeyParam),
    request_body = BookingBody,
    responses(
        (status = 201, description = "Booked", body = Booking, headers(
            ("Location" = String, description = "Where the ticket's status is found"),
        )),
        BookingProblems, OutcomeUnknownProblem,
    ),
)]
pub async fn book_seats(
    State(app): State<AppState>,
    key: Option<IdempotencyKeyHeader>,
    JsonBody(body): JsonBody<BookingBody>,
) -> Result<Response, Problem> {
    let request = body.parse(app.policy.max_seats)?;
    let ticket = app.issue_ticket(app.policy.booking_wait);
    let waiter = app.outcomes.wait_for(ticket.id);
    match enqueue(&app, ticket, key.map(|IdempotencyKeyHeader(key)| key), request).await {
        // If it is not known whether it was accepted, the fence below gives the ticket an outcome all the same.
        Ok(()) | Err(PublishError::Unknown) => {}
        Err(error) => return Err(publish_error_problem(&app, error, ticket)),
    }
    let outcome = await_or_expire(&app, ticket, waiter).await?;
    let location = ticket_location(ticket.id);
    match booking_or_problem(outcome) {
        Ok(booking) => Ok((StatusCode::CREATED, [(LOCATION, location)], Json(booking)).into_response()),
        Err(problem) => Err(problem.with_header(LOCATION, location)),
    }
}

/// The ticket's outcome. If none comes by its deadline the ticket is fenced off, so that what is answered stands: it
/// cannot be sold afterwards.
async fn await_or_expire(
    app: &AppState,
    ticket: Ticket,
    mut waiter: OutcomeWaiter,
) -> Result<Outcome, Problem> {
    let Ticket { id, deadline } = ticket;
    let mut patience = app.clock.now().until(deadline);
    loop {
        if let Some(settled) = waiter.outcome_within(patience).await {
            return Ok(settled.outcome.clone());
        }
        let fencing =
            app.database.query(move |connection| Box::pin(tickets::expire(connection, id, deadline)));
        let detail = "The booking may still go through. Follow the ticket before you try again.";
        let unknown = Problem::new(ProblemCode::OutcomeUnknown, detail).about(id);
        match Box::pin(fencing).await {
            // Remembered, because an instance must not answer `queued` after it has reported a final status.
            Ok(Some(Ok(settled))) => return Ok(app.outcomes.record(settled).outcome.clone()),
            Ok(Some(Err(unreadable))) => {
                app.outcomes.log_unreadable(&unreadable);
                return Err(unknown);
            }
            // The deadline has not passed by the database's clock.
            Ok(None) => patience = FENCE_AGAIN_AFTER,
            Err(error) => return Err(unknown.because(error)),
        }
    }
}
