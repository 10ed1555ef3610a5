//! What has become of a ticket, asked in the order of what it costs: memory, the watermark, Postgres.

use std::sync::Arc;
use std::time::Duration;

use hamro_shared::database::tickets;
use hamro_shared::domain::{SettledTicket, TicketId};

use crate::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// The ticket that a client names, if it is one of ours.
pub fn verify_ticket(app: &AppState, text: &str) -> Result<TicketId, Problem> {
    let ticket = app.rules.ticket_keys.verify(text);
    ticket.ok_or_else(|| {
        Problem::new(ProblemCode::TicketNotFound, "This is no ticket that was handed out here.")
    })
}

/// The ticket's outcome, if it has one; a ticket past its deadline gets one here and now.
pub async fn find_outcome(
    app: &AppState,
    ticket: TicketId,
) -> Result<Option<Arc<SettledTicket>>, sqlx::Error> {
    if let Some(settled) = app.outcomes.known(ticket) {
        return Ok(Some(settled));
    }
    let is_overdue = app.clock.now() > ticket.issued_at() + app.rules.booking_deadline;
    if !is_overdue && app.watermark.is_before(ticket).await {
        return Ok(None);
    }
    // In a box: what a query needs would take room in the future of every request that never gets here.
    Box::pin(ask_database(app, ticket, is_overdue)).await
}

async fn ask_database(
    app: &AppState,
    ticket: TicketId,
    is_overdue: bool,
) -> Result<Option<Arc<SettledTicket>>, sqlx::Error> {
    let found = tickets::find_settled(&mut *app.pool.acquire().await?, &[ticket]).await?.pop();
    let settled = match found {
        None if is_overdue => tickets::expire(&app.pool, ticket, app.clock.now()).await?,
        None => return Ok(None),
        Some(settled) => settled,
    };
    Ok(Some(app.outcomes.remember(settled)))
}

/// The ticket's outcome, as soon as it has one, if that is within `patience`. A process that is stopping has none.
pub async fn outcome_within(
    app: &AppState,
    ticket: TicketId,
    patience: Duration,
) -> Result<Option<Arc<SettledTicket>>, sqlx::Error> {
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
