//! The spans of a booking within the trace of its request.

use hamro_shared::domain::{SettledTicket, TicketId};
use hamro_shared::telemetry::traces::{ActiveSpan, SpanKind, TraceContext};

use crate::broker::publisher::AcceptError;
use crate::state::AppState;

/// The span from the hand-over to the publishing task until the broker's confirm. The booking carries it through the
/// queue.
pub fn publish_span(app: &AppState, parent: Option<TraceContext>, ticket: TicketId) -> Option<ActiveSpan> {
    let mut span = app.traces.start_child(parent, SpanKind::Producer, "publish bookings.intake")?;
    span.set("messaging.system", "rabbitmq");
    span.set("messaging.operation.name", "publish");
    span.set("messaging.operation.type", "send");
    span.set("messaging.destination.name", "bookings.intake");
    span.set_ticket(ticket);
    Some(span)
}

pub fn end_publish(span: Option<ActiveSpan>, published: Result<(), AcceptError>) {
    if let (Some(mut span), Err(error)) = (span, published) {
        span.fail(match error {
            AcceptError::Busy => "busy",
            AcceptError::Unavailable => "unavailable",
            AcceptError::QueueFull => "queue_full",
            AcceptError::Unknown => "unconfirmed",
        });
    }
}

/// The span of a response that is held until the outcome of a ticket is known.
pub fn wait_span(app: &AppState, parent: Option<TraceContext>, ticket: TicketId) -> Option<ActiveSpan> {
    let mut span = app.traces.start_child(parent, SpanKind::Internal, "wait for outcome")?;
    span.set_ticket(ticket);
    Some(span)
}

pub fn end_wait(span: Option<ActiveSpan>, settled: Option<&SettledTicket>) {
    if let Some(mut span) = span {
        span.set("booking.outcome", settled.map_or("unknown", |settled| settled.outcome.code()));
    }
}
