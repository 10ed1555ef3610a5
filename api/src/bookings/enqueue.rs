//! Puts a booking into the queue, for both endpoints that accept bookings.

use axum::http::header::RETRY_AFTER;
use hamro_shared::domain::{BookingRequest, IdempotencyKey, Ticket};
use hamro_shared::fault_point;
use hamro_shared::queue::Envelope;
use tokio::time::Instant;

use crate::broker::publisher::AcceptError;
use crate::http::problem::{Problem, ProblemCode};
use crate::http::retry_after::{retry_after, whole_seconds};
use crate::state::AppState;

/// Publishes the booking under the ticket. `Ok` means that the broker has stored it.
pub async fn enqueue(
    app: &AppState,
    ticket: Ticket,
    idempotency_key: Option<IdempotencyKey>,
    request: BookingRequest,
) -> Result<(), AcceptError> {
    let is_full = app.publisher.is_up() && !app.is_accepting();
    let published = if is_full {
        Err(AcceptError::QueueFull)
    } else {
        app.publisher.publish(Envelope { ticket, idempotency_key, request }).await
    };
    if published.is_ok() {
        fault_point!(AfterConfirm);
    }
    published
}

/// The problem to return for a booking that was not accepted.
pub fn accept_error_problem(app: &AppState, error: AcceptError, ticket: Ticket) -> Problem {
    let problem = match error {
        AcceptError::Busy | AcceptError::QueueFull => {
            Problem::of(ProblemCode::QueueFull)
                .with_header(RETRY_AFTER, retry_after(app.retry_hint(Instant::now()).map(whole_seconds)))
        }
        AcceptError::Unavailable => Problem::of(ProblemCode::BrokerUnavailable).retry_after(2),
        // The booking may still go through, so the client gets its ticket.
        AcceptError::Unknown => Problem::new(
            ProblemCode::BrokerUnavailable,
            "The booking may still go through. Follow the ticket, or try again with the same Idempotency-Key.",
        )
        .about(ticket.id)
        .retry_after(2),
    };
    problem.caused_by(error)
}
