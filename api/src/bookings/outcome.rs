//! Looks up the outcome of a ticket, cheapest source first: memory, the watermark, Postgres.

use std::sync::Arc;
use std::time::Duration;

use hamro_shared::database::tickets::{self, Unreadable};
use hamro_shared::domain::{SettledTicket, TicketId, Timestamp};
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
}

impl From<OutcomeError> for Problem {
    fn from(error: OutcomeError) -> Self {
        match error {
            OutcomeError::Database(error) => error.into(),
            // The outcome cache has logged the cause.
            OutcomeError::Unreadable(_) => Self::of(ProblemCode::Internal),
        }
    }
}

/// The ticket with this id, if one of this installation's keys issued it.
pub fn verify_ticket(app: &AppState, text: &str) -> Result<TicketId, Problem> {
    let ticket = app.policy.ticket_keys.verify(text);
    ticket.ok_or_else(|| Problem::of(ProblemCode::TicketNotFound))
}

/// The ticket's outcome, if it has one. A ticket past its deadline is fenced and thereby gets one.
pub async fn find_outcome(
    app: &AppState,
    ticket: TicketId,
) -> Result<Option<Arc<SettledTicket>>, OutcomeError> {
    if let Some(settled) = app.outcomes.get(ticket) {
        return Ok(Some(settled));
    }
    let deadline = ticket.issued_at() + app.policy.booking_deadline;
    let overdue_since = (app.clock.now() > deadline).then_some(deadline);
    if overdue_since.is_none() && app.watermark.is_before(ticket).await {
        return Ok(None);
    }
    // Boxed: otherwise the query's state would enlarge the future of every request, also of those that need no query.
    let query = app.database.query(move |connection| Box::pin(find(connection, ticket, overdue_since)));
    match Box::pin(query).await? {
        None => Ok(None),
        Some(Ok(settled)) => Ok(Some(app.outcomes.record(settled))),
        Some(Err(unreadable)) => {
            app.outcomes.log_unreadable(&unreadable);
            Err(unreadable.into())
        }
    }
}

/// The outcome in the database. Its clock also decides whether the deadline has passed.
async fn find(
    connection: &mut PgConnection,
    ticket: TicketId,
    overdue_since: Option<Timestamp>,
) -> Result<Option<Result<SettledTicket, Unreadable>>, sqlx::Error> {
    let found = tickets::find_settled(connection, &[ticket]).await?.pop();
    match (found, overdue_since) {
        (None, Some(deadline)) => tickets::expire(connection, ticket, deadline).await,
        (found, _) => Ok(found),
    }
}

/// Waits up to `timeout` for the ticket's outcome. Returns `None` when the time is up or the process is stopping.
pub async fn outcome_within(
    app: &AppState,
    ticket: TicketId,
    timeout: Duration,
) -> Result<Option<Arc<SettledTicket>>, OutcomeError> {
    if timeout.is_zero() {
        return find_outcome(app, ticket).await;
    }
    // Registered before the look-up, so that no outcome can be missed in between.
    let mut waiter = app.outcomes.wait_for(ticket);
    if let Some(settled) = find_outcome(app, ticket).await? {
        return Ok(Some(settled));
    }
    Ok(waiter.outcome_unless(&app.stopping, timeout).await)
}
