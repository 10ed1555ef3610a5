use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hamro_shared::domain::{SettledTicket, Ticket};
use serde_json::json;
use tracing::warn;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema};

use super::TicketStatus;
use super::outcome::{find_or_expire, verify_ticket};
use crate::http::client_address::Client;
use crate::http::extract::PathId;
use crate::http::openapi::{BOOKINGS, StreamEvent, StreamProblems, TicketProblems};
use crate::http::problem::Problem;
use crate::http::sse::{head_of_stream, last_event_id};
use crate::outcomes::OutcomeWaiter;
use crate::outcomes::queue_estimate::QueuePosition;
use crate::state::AppState;

/// How often a new queue position is sent, at most.
const POSITION_INTERVAL: Duration = Duration::from_secs(3);

/// Follow a booking
///
/// Server-sent events named `status`, with the status document as data. The current status is sent at once, a new queue
/// position at most every three seconds, and the final status as soon as it is known. The stream then ends. The id of an
/// event is the status. A client that reconnects after the final event receives 204; browsers then stop reconnecting.
#[utoipa::path(
    get,
    path = "/ticket-bookings/{ticketId}/events",
    operation_id = "follow_booking",
    tag = BOOKINGS,
    security(),
    params(
        ("ticketId" = Uuid, Path, description = "The ticket id from the response to the booking", example = "019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88"),
        ("Last-Event-ID" = Option<String>, Header, nullable = false, example = "queued", description = "The id of the last event received"),
    ),
    responses(
        (status = 200, description = "The event stream", body = TicketEvent, content_type = "text/event-stream"),
        (status = 204, description = "The client has already received the final status"),
        TicketProblems, StreamProblems,
    ),
)]
pub async fn follow_booking(
    State(app): State<AppState>,
    client: Client,
    PathId(text): PathId<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let ticket = verify_ticket(&app, &text)?;
    if method == Method::HEAD {
        return Ok(head_of_stream());
    }
    let permit = app.sse_limiter.acquire(client)?;
    // Registered before the look-up, so that no outcome can be missed in between.
    let waiter = app.outcomes.wait_for(ticket);
    if let Some(settled) = find_or_expire(&app, ticket).await? {
        let status = status_of(&settled);
        if last_event_id(&headers) == Some(status.status.as_str()) {
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        return Ok(permit.stream(stream::iter([event(&status)])));
    }
    let first = TicketStatus::queued(ticket, app.position(ticket));
    let first_event = stream::iter([event(&first)]);
    let later_events =
        stream::unfold((app, waiter, first.queue), |(app, mut waiter, last_sent)| async move {
            // Only a queued status has a position: after a final one the stream ends.
            let last_sent = last_sent?;
            let status = next_status(&app, &mut waiter, last_sent).await?;
            Some((event(&status), (app, waiter, status.queue)))
        });
    Ok(permit.stream(first_event.chain(later_events)))
}

/// The next status to send: a new queue position, or the final status. A ticket that is not settled by its deadline is
/// fenced. Returns `None` if the database fails to do that.
async fn next_status(
    app: &AppState,
    waiter: &mut OutcomeWaiter,
    last_sent: QueuePosition,
) -> Option<TicketStatus> {
    let ticket = waiter.ticket();
    let deadline = ticket.issued_at() + app.policy.booking_deadline;
    let past_deadline = Ticket { id: ticket, deadline }.first_moment_past_deadline();
    loop {
        let pause = POSITION_INTERVAL.min(app.clock.now().until(past_deadline));
        if let Some(settled) = waiter.wait_for_outcome(pause).await {
            return Some(status_of(&settled));
        }
        if app.clock.now() >= past_deadline {
            return match find_or_expire(app, ticket).await {
                Ok(settled) => settled.map(|settled| status_of(&settled)),
                Err(error) => {
                    warn!(ticket.log_id = %ticket, "closing the event stream of ticket {ticket} without its outcome: {error}");
                    None
                }
            };
        }
        let position = app.position(ticket);
        if position != last_sent {
            return Some(TicketStatus::queued(ticket, position));
        }
    }
}

fn status_of(settled: &Arc<SettledTicket>) -> TicketStatus {
    TicketStatus::settled((**settled).clone())
}

fn event(status: &TicketStatus) -> Event {
    let event = Event::default().event("status").id(status.status.as_str());
    event.json_data(status).unwrap_or_else(|_| Event::default().comment("status cannot be serialized"))
}

/// An event of a booking's stream.
pub struct TicketEvent;

impl utoipa::PartialSchema for TicketEvent {
    fn schema() -> RefOr<Schema> {
        let event = StreamEvent {
            name: "status",
            description: "A status of a ticket. The stream ends after the final one. Every 15 seconds without an event, the \
                          stream contains a comment (`: keep-alive`).",
            id: "queued",
            id_description: "The status.",
            data_schema: "TicketStatus",
            data: json!({
                "ticketId": "019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88", "status": "queued",
                "submittedAt": "2026-11-22T16:14:22.341Z", "queue": {"ahead": 12000, "etaSeconds": 2},
            }),
        };
        ObjectBuilder::from(event).into()
    }
}

impl utoipa::ToSchema for TicketEvent {}
