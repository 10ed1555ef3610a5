//! Looks up the outcome of a ticket, cheapest source first: memory, the watermark, Postgres.

use std::sync::Arc;
use std::time::Duration;

use hamro_shared::database::tickets::{self, Unreadable};
use hamro_shared::domain::{SettledTicket, Ticket, TicketId, Timestamp};
use sqlx::postgres::PgConnection;

use crate::http::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// Why an outcome cannot be reported.
#[derive(Debug, thiserror::Error)]
pub enum OutcomeError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// It was rejected, or was never settled, so long ago that it may be deleted.
    #[error("the ticket is older than the retention period of rejected bookings")]
    Deleted,
}

/// What the database says about a ticket.
enum Found {
    Outcome(Result<SettledTicket, Unreadable>),
    NotSettled,
    MayBeDeleted,
}

impl From<OutcomeError> for Problem {
    fn from(error: OutcomeError) -> Self {
        match error {
            OutcomeError::Database(error) => error.into(),
            // The outcome cache has logged the cause.
            OutcomeError::Unreadable(_) => Self::of(ProblemCode::Internal),
            OutcomeError::Deleted => Self::new(
                ProblemCode::TicketNotFound,
                "Nothing is stored about this ticket any more. It was not confirmed.",
            ),
        }
    }
}

/// The ticket with this id, if one of this installation's keys issued it.
pub fn verify_ticket(app: &AppState, text: &str) -> Result<TicketId, Problem> {
    let ticket = app.policy.ticket_keys.verify(text);
    ticket.ok_or_else(|| Problem::of(ProblemCode::TicketNotFound))
}

/// Looks up the ticket's outcome; `None` if the ticket is still queued. For a ticket past its deadline this inserts the
/// outcome `expired`, unless its outcome may be deleted.
pub async fn find_or_expire(
    app: &AppState,
    ticket: TicketId,
) -> Result<Option<Arc<SettledTicket>>, OutcomeError> {
    if let Some(settled) = app.outcomes.get(ticket) {
        return Ok(Some(settled));
    }
    let deadline = ticket.issued_at() + app.policy.booking_deadline;
    let is_past_deadline = Ticket { id: ticket, deadline }.is_past_deadline(app.clock.now());
    // While commits are blocked, the ticket stays queued: the write would only wait.
    let may_expire = is_past_deadline && !app.database.servers().commits_are_blocked();
    let passed_deadline = may_expire.then_some(deadline);
    if passed_deadline.is_none() && app.watermark.proves_unsettled(ticket).await {
        return Ok(None);
    }
    // Boxed: otherwise the query's state would enlarge the future of every request, also of those that need no query.
    let query = app.database.query(move |connection| Box::pin(find(connection, ticket, passed_deadline)));
    match Box::pin(query).await? {
        Found::NotSettled => Ok(None),
        Found::MayBeDeleted => Err(OutcomeError::Deleted),
        Found::Outcome(Ok(settled)) => Ok(Some(app.outcomes.record(settled))),
        Found::Outcome(Err(unreadable)) => {
            app.outcomes.log_unreadable(&unreadable);
            Err(unreadable.into())
        }
    }
}

/// Looks up the outcome in the database. If there is none and `passed_deadline` is given, inserts `expired`, provided
/// that the deadline has passed by the database clock too.
async fn find(
    connection: &mut PgConnection,
    ticket: TicketId,
    passed_deadline: Option<Timestamp>,
) -> Result<Found, sqlx::Error> {
    if let Some(found) = tickets::find_settled(connection, &[ticket]).await?.pop() {
        return Ok(Found::Outcome(found));
    }
    let Some(deadline) = passed_deadline else { return Ok(Found::NotSettled) };
    Ok(match tickets::expire(connection, ticket, deadline).await? {
        Some(outcome) => Found::Outcome(outcome),
        None if tickets::may_be_deleted(connection, ticket).await? => Found::MayBeDeleted,
        None => Found::NotSettled,
    })
}

/// Looks up the ticket's outcome as [`find_or_expire`] does, and waits up to `timeout` for it if there is none yet.
/// Returns `None` when the time is up.
///
/// Also returns `None` when the process is stopping: the response is then that the ticket is queued, and the client can
/// wait on another instance. `book_seats` does not stop early, because its response is the outcome, which is known by
/// the ticket's deadline.
pub async fn find_or_wait(
    app: &AppState,
    ticket: TicketId,
    timeout: Duration,
) -> Result<Option<Arc<SettledTicket>>, OutcomeError> {
    if timeout.is_zero() {
        return find_or_expire(app, ticket).await;
    }
    // Registered before the look-up, so that no outcome can be missed in between.
    let mut waiter = app.outcomes.wait_for(ticket);
    if let Some(settled) = find_or_expire(app, ticket).await? {
        return Ok(Some(settled));
    }
    Ok(waiter.wait_for_outcome_or_stop(&app.stopping, timeout).await)
}
