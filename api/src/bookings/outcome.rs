//! What has become of a ticket, asked in the order of what it costs: memory, the watermark, Postgres.

use std::sync::Arc;
use std::time::Duration;

use hamro_shared::database::tickets::{self, Unreadable};
use hamro_shared::domain::{SettledTicket, TicketId, Timestamp};
use sqlx::postgres::PgConnection;

use crate::http::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// Why an outcome cannot be told.
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
            OutcomeError::Unreadable(_) => Self::noted(),
        }
    }
}

/// The ticket that a client names, if it is one of ours.
pub fn verify_ticket(app: &AppState, text: &str) -> Result<TicketId, Problem> {
    let ticket = app.policy.ticket_keys.verify(text);
    ticket.ok_or_else(|| {
        Problem::new(ProblemCode::TicketNotFound, "This is no ticket that was handed out here.")
    })
}

/// The ticket's outcome, if it has one; a ticket past its deadline gets one here and now.
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
    // In a box: what a query needs would take room in the future of every request that never gets here.
    let asking = app.database.query(move |connection| Box::pin(find(connection, ticket, overdue_since)));
    match Box::pin(asking).await? {
        None => Ok(None),
        Some(Ok(settled)) => Ok(Some(app.outcomes.record(settled))),
        Some(Err(unreadable)) => {
            app.outcomes.log_unreadable(&unreadable);
            Err(unreadable.into())
        }
    }
}

/// What the database says. It also has the last word on whether a deadline has passed.
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

/// The ticket's outcome, as soon as it has one, if that is within `patience`. A process that is stopping has none.
pub async fn outcome_within(
    app: &AppState,
    ticket: TicketId,
    patience: Duration,
) -> Result<Option<Arc<SettledTicket>>, OutcomeError> {
    if patience.is_zero() {
        return find_outcome(app, ticket).await;
    }
    // Before looking, so that no outcome slips through in between.
    let mut waiter = app.outcomes.wait_for(ticket);
    if let Some(settled) = find_outcome(app, ticket).await? {
        return Ok(Some(settled));
    }
    Ok(waiter.outcome_unless(&app.stopping, patience).await)
}
