//! Puts a booking into the queue, for both endpoints that accept bookings. First [`admit`], [`reject_early`] and
//! [`check_workers`] decide whether a ticket is issued for it.

use axum::http::header::RETRY_AFTER;
use hamro_shared::domain::{BookingRequest, IdempotencyKey, Ticket};
use hamro_shared::fault_point;
use hamro_shared::queue::{Envelope, version_for};
use hamro_shared::telemetry::traces::{ActiveSpan, TraceContext};
use serde_json::json;
use tokio::time::Instant;

use super::trace::{end_publish, publish_span};
use crate::broker::publisher::AcceptError;
use crate::http::problem::{Problem, ProblemCode};
use crate::http::retry_after::{retry_after, whole_seconds};
use crate::installation::envelope_versions::Unreadable;
use crate::intake::NotAdmitted;
use crate::state::AppState;

/// How long clients should wait while the intake is paused, in seconds. It is not known how long that takes; this spreads
/// their return.
const PAUSED_SECONDS: u64 = 20;

/// Whether a ticket may be issued for a booking. `Ok` uses up a part of the operators' limits, if there are any.
pub fn admit(app: &AppState, request: &BookingRequest) -> Result<(), Problem> {
    let booked = app.intake.count_request(request);
    // Before the state of the broker, which operators may repair during the pause.
    app.intake.check_paused(&booked).map_err(not_admitted)?;
    app.publisher.check_up().map_err(|error| refused(app, error))?;
    if app.is_queue_full() {
        return Err(refused(app, AcceptError::QueueFull));
    }
    app.intake.admit(&booked, Instant::now()).map_err(not_admitted)
}

/// Rejects a booking whose seats are known to be sold, with the problem that a worker would report. Nothing is stored about it,
/// and its idempotency key is not used up.
pub fn reject_early(
    app: &AppState,
    request: &BookingRequest,
    key: Option<&IdempotencyKey>,
) -> Result<(), Problem> {
    match app.early_rejection.rejection_of(request, key, app.clock.now()) {
        Some(rejection) => Err(rejection.into()),
        None => Ok(()),
    }
}

/// Refuses a booking that a running worker could not read, because it is of an earlier version (decision 41).
pub async fn check_workers(app: &AppState, request: &BookingRequest) -> Result<(), Problem> {
    // All workers read plain bookings, also while none is running.
    if request.expected_total().is_none() {
        return Ok(());
    }
    app.installation.check_readable(version_for(request)).await.map_err(|reason| {
        let problem = match reason {
            Unreadable::OlderWorker(_) => Problem::of(ProblemCode::UpgradeInProgress).retry_after(5),
            Unreadable::NoWorker | Unreadable::NotHeard => Problem::new(
                ProblemCode::NotReady,
                "Nothing was booked. It is not known yet whether all workers compare expectedTotal. Try again in a moment.",
            )
            .retry_after(2),
        };
        problem.caused_by(reason)
    })
}

fn not_admitted(reason: NotAdmitted) -> Problem {
    let problem = match reason {
        NotAdmitted::NotKnown => Problem::new(
            ProblemCode::NotReady,
            "Nothing was booked. This instance has just started, and does not know yet whether bookings are accepted.",
        )
        .retry_after(1),
        NotAdmitted::Paused => Problem::of(ProblemCode::IntakePaused).retry_after(PAUSED_SECONDS),
        NotAdmitted::Limited { backlog } => {
            Problem::of(ProblemCode::IntakeLimited).retry_after(whole_seconds(backlog))
        }
        NotAdmitted::ConcertPaused { concert } => Problem::new(
            ProblemCode::IntakePaused,
            "Nothing was booked. The organisers have paused bookings of this concert. Try again later.",
        )
        .with("concertId", json!(concert))
        .retry_after(PAUSED_SECONDS),
        NotAdmitted::ConcertLimited { concert, backlog } => Problem::new(
            ProblemCode::IntakeLimited,
            "Nothing was booked. Bookings of this concert are accepted at a limited rate. Try again in a moment.",
        )
        .with("concertId", json!(concert))
        .retry_after(whole_seconds(backlog)),
    };
    problem.caused_by(reason)
}

/// Publishes the booking under the ticket, as a part of its request's trace. `Ok` means that the broker has stored it.
pub async fn enqueue(
    app: &AppState,
    ticket: Ticket,
    idempotency_key: Option<IdempotencyKey>,
    request: BookingRequest,
    trace: Option<TraceContext>,
) -> Result<(), AcceptError> {
    let span = publish_span(app, trace, ticket.id);
    let trace = span.as_ref().map(ActiveSpan::context);
    #[cfg(feature = "faults")]
    app.early_rejection.on_accepted(request.seat_ids());
    let published = app.publisher.publish(Envelope { ticket, idempotency_key, request, trace }).await;
    end_publish(span, published);
    if published.is_ok() {
        fault_point!(AfterConfirm);
    }
    published
}

/// The problem to return for a booking that was not accepted.
pub fn accept_error_problem(app: &AppState, error: AcceptError, ticket: Ticket) -> Problem {
    match error {
        AcceptError::Busy | AcceptError::QueueFull | AcceptError::Unavailable => refused(app, error),
        // The booking may still go through, so the client gets its ticket.
        AcceptError::Unknown => Problem::new(
            ProblemCode::BrokerUnavailable,
            "The booking may still go through. Follow the ticket, or try again with the same Idempotency-Key.",
        )
        .about(ticket.id)
        .retry_after(2)
        .caused_by(error),
    }
}

/// The problem of a booking that is certainly not in the queue.
fn refused(app: &AppState, error: AcceptError) -> Problem {
    let problem = match error {
        AcceptError::Busy | AcceptError::QueueFull => Problem::of(ProblemCode::QueueFull)
            .with_header(RETRY_AFTER, retry_after(app.retry_hint(Instant::now()).map(whole_seconds))),
        AcceptError::Unavailable | AcceptError::Unknown => {
            Problem::of(ProblemCode::BrokerUnavailable).retry_after(2)
        }
    };
    problem.caused_by(error)
}
