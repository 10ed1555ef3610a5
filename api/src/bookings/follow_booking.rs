use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hamro_shared::domain::SettledTicket;
use serde_json::json;
use tracing::warn;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::TicketStatus;
use super::outcome::{find_outcome, verify_ticket};
use crate::http::extract::PathId;
use crate::http::openapi::{BOOKINGS, StreamProblems, TicketProblems, stream_event};
use crate::http::problem::Problem;
use crate::http::sse::last_event_id;
use crate::outcomes::OutcomeWaiter;
use crate::outcomes::queue_estimate::QueuePosition;
use crate::state::AppState;

/// How often a customer who waits is told of a new place in the queue.
const POSITION_EVERY: Duration = Duration::from_secs(3);

/// Follow a ticket
///
/// Server-sent events, named `status`, each with the status document as its data: one at once, one whenever the place in
/// the queue has changed, every three seconds at most, and the final one as soon as the ticket has it, which ends the
/// stream. An event's id is its status. A client that connects again although it has had the final event is told to stop
/// (204), as browsers do by themselves.
#[utoipa::path(
    get,
    path = "/ticket-bookings/{ticketId}/events",
    operation_id = "follow_booking",
    tag = BOOKINGS,
    params(
        ("ticketId" = String, Path, description = "The ticket's id, as it was handed out"),
        ("Last-Event-ID" = Option<String>, Header, nullable = false, description = "The id of the last event that was received"),
    ),
    responses(
        (status = 200, description = "The events", body = TicketEvent, content_type = "text/event-stream"),
        (status = 204, description = "There is nothing more to come"),
        TicketProblems, StreamProblems,
    ),
)]
pub async fn follow_booking(
    State(app): State<AppState>,
    PathId(text): PathId<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let ticket = verify_ticket(&app, &text)?;
    let permit = app.sse_limiter.acquire()?;
    // Before looking, so that no outcome slips through in between.
    let waiter = app.outcomes.wait_for(ticket);
    match find_outcome(&app, ticket).await? {
        Some(settled) if last_event_id(&headers) == Some(status_of(&settled).id()) => {
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Some(settled) => Ok(permit.stream(stream::iter([event(&status_of(&settled))]))),
        None => {
            let first = TicketStatus::queued(ticket, app.position(ticket));
            let begin = stream::iter([event(&first)]);
            let following =
                stream::unfold((app, waiter, first.queue), |(app, mut waiter, told)| async move {
                    // Of a ticket that has been told to be final there is no place to tell.
                    told?;
                    let status = next_status(&app, &mut waiter, told).await?;
                    Some((event(&status), (app, waiter, status.queue)))
                });
            Ok(permit.stream(begin.chain(following)))
        }
    }
}

/// What the client is to be told next: another place in the queue than it was told last, or the end. A ticket that nobody
/// settles is fenced off at its deadline. Nothing, if the database cannot be asked for that.
async fn next_status(
    app: &AppState,
    waiter: &mut OutcomeWaiter,
    told: Option<QueuePosition>,
) -> Option<TicketStatus> {
    let ticket = waiter.ticket();
    let overdue = ticket.issued_at() + app.policy.booking_deadline + Duration::from_millis(1);
    loop {
        let patience = POSITION_EVERY.min(app.clock.now().until(overdue));
        if let Some(settled) = waiter.outcome_within(patience).await {
            return Some(status_of(&settled));
        }
        if app.clock.now() >= overdue {
            return match find_outcome(app, ticket).await {
                Ok(settled) => settled.map(|settled| status_of(&settled)),
                Err(error) => {
                    warn!(ticket.log_id = %ticket, "the event stream of ticket {ticket} ends without its outcome: {error}");
                    None
                }
            };
        }
        let position = app.position(ticket);
        if told != Some(position) {
            return Some(TicketStatus::queued(ticket, position));
        }
    }
}

fn status_of(settled: &Arc<SettledTicket>) -> TicketStatus {
    TicketStatus::settled((**settled).clone())
}

fn event(status: &TicketStatus) -> Event {
    let event = Event::default().event("status").id(status.id());
    event.json_data(status).unwrap_or_else(|_| Event::default().comment("cannot be shown"))
}

/// An event of a ticket's stream. Its id is the ticket's status.
pub struct TicketEvent;

impl utoipa::PartialSchema for TicketEvent {
    fn schema() -> RefOr<Schema> {
        let example = json!({
            "ticketId": "019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88", "status": "queued",
            "submittedAt": "2026-11-22T16:14:22.341Z", "queue": {"ahead": 12000, "etaSeconds": 2},
        });
        stream_event("status", "queued", "TicketStatus", example).into()
    }
}

impl utoipa::ToSchema for TicketEvent {}
