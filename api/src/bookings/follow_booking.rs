use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use hamro_shared::domain::SettledTicket;

use super::TicketStatus;
use super::outcome::{find_outcome, verify_ticket};
use crate::extract::Id;
use crate::intake::Waiter;
use crate::openapi::BOOKINGS;
use crate::problem::{Problem, ProblemDocument};
use crate::state::AppState;

/// Proxies and browsers give up on a connection that is silent for long.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// How long a client waits before it connects again after a stream has broken off.
const RECONNECT_AFTER: Duration = Duration::from_secs(2);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Follow a ticket
///
/// Server-sent events, named `status`, each with the status document as its data: one at once, and the final one as soon as
/// the ticket has it, which ends the stream. An event's id is its status. A client that connects again although it has had
/// the final event is told to stop (204), as browsers do by themselves.
#[utoipa::path(
    get,
    path = "/ticket-bookings/{ticketId}/events",
    operation_id = "follow_booking",
    tag = BOOKINGS,
    params(
        ("ticketId" = String, Path, description = "The ticket's id, as it was handed out"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received"),
    ),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        (status = 204, description = "There is nothing more to come"),
        (status = 404, description = "No ticket of ours", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "The database cannot be reached", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub async fn follow_booking(
    State(app): State<AppState>,
    Id(text): Id<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let ticket = verify_ticket(&app, &text)?;
    // Before looking, so that no outcome slips through in between.
    let waiter = app.outcomes.wait_for(ticket);
    let settled = find_outcome(&app, ticket).await?;
    let last_seen = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
    let first = match settled {
        Some(settled) if last_seen == Some(status_of(&settled).id()) => {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        Some(settled) => Next::Final(settled),
        None => Next::Queued(Box::new(TicketStatus::queued(ticket, app.position(ticket))), waiter),
    };
    // The other headers are what proxies need in order not to hold events back.
    let unbuffered = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    let keep_alive = KeepAlive::new().interval(COMMENT_EVERY).text("still here");
    Ok((unbuffered, Sse::new(events(app, first)).keep_alive(keep_alive)).into_response())
}

/// What a stream has to tell next.
enum Next {
    Queued(Box<TicketStatus>, Waiter),
    Wait(Waiter),
    Final(Arc<SettledTicket>),
    Nothing,
}

/// The events from `first` on. A stream ends with its final event, or when the process stops: the client connects again,
/// to another instance.
fn events(app: AppState, first: Next) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((app, first), |(app, next)| async move {
        let settled = match next {
            Next::Nothing => return None,
            Next::Queued(status, waiter) => return Some((Ok(event(&status)), (app, Next::Wait(waiter)))),
            Next::Final(settled) => settled,
            Next::Wait(mut waiter) => tokio::select! {
                settled = outcome(&app, &mut waiter) => settled?,
                () = app.stopping.cancelled() => return None,
            },
        };
        Some((Ok(event(&status_of(&settled))), (app, Next::Nothing)))
    })
}

/// The ticket's outcome, as soon as it has one. One that nobody settles is fenced off at its deadline.
async fn outcome(app: &AppState, waiter: &mut Waiter) -> Option<Arc<SettledTicket>> {
    let overdue = waiter.ticket().issued_at() + app.rules.booking_deadline;
    let patience = app.clock.now().until(overdue) + Duration::from_millis(1);
    match waiter.outcome_within(patience).await {
        Some(settled) => Some(settled),
        None => find_outcome(app, waiter.ticket()).await.ok().flatten(),
    }
}

fn status_of(settled: &Arc<SettledTicket>) -> TicketStatus {
    TicketStatus::settled((**settled).clone())
}

fn event(status: &TicketStatus) -> Event {
    let event = Event::default().event("status").id(status.id()).retry(RECONNECT_AFTER);
    event.json_data(status).unwrap_or_else(|_| Event::default().comment("cannot be shown"))
}
