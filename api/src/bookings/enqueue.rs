//! Accepting a booking: what both endpoints that take one have in common.

use axum::http::header::RETRY_AFTER;
use hamro_shared::domain::{BookingRequest, IdempotencyKey, Ticket};
use hamro_shared::fault_point;
use hamro_shared::queue::Envelope;
use tokio::time::Instant;

use crate::broker::publisher::PublishError;
use crate::http::problem::{Problem, ProblemCode};
use crate::http::retry_after::retry_after;
use crate::http::retry_after::whole_seconds;
use crate::state::AppState;

/// Puts the booking into the queue under the ticket. `Ok` means that the broker has stored it.
pub async fn enqueue(
    app: &AppState,
    ticket: Ticket,
    idempotency_key: Option<IdempotencyKey>,
    request: BookingRequest,
) -> Result<(), PublishError> {
    let is_full = app.publisher.is_up() && !app.is_accepting(Instant::now());
    let published = if is_full {
        Err(PublishError::Refused)
    } else {
        app.publisher.publish(Envelope { ticket, idempotency_key, request }).await
    };
    if published.is_ok() {
        fault_point!(AfterConfirm);
    }
    published
}

/// What to tell a client whose booking was not accepted.
pub fn publish_error_problem(app: &AppState, error: PublishError, ticket: Ticket) -> Problem {
    let problem = match error {
        PublishError::Busy | PublishError::Refused => {
            Problem::new(ProblemCode::QueueFull, "Nothing was booked. Try again in a moment.")
                .with_header(RETRY_AFTER, retry_after(app.retry_hint(Instant::now()).map(whole_seconds)))
        }
        PublishError::Unavailable => {
            Problem::new(ProblemCode::BrokerUnavailable, "Nothing was booked. Try again in a moment.")
                .retry_after(2)
        }
        // The booking may go through: whoever hears this must be able to find out.
        PublishError::Unknown => Problem::new(
            ProblemCode::BrokerUnavailable,
            "Whether the booking was accepted is not known. Follow the ticket, or try again with the same \
             Idempotency-Key.",
        )
        .about(ticket.id)
        .retry_after(2),
    };
    problem.because(error)
}
