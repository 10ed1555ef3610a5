//! The spans of a batch: one of the batch, with links to the sampled bookings in it, and one of each of these bookings,
//! in the booking's own trace. docs/TRACING.md describes them.

use std::collections::HashMap;

use hamro_shared::domain::TicketId;
use hamro_shared::telemetry::traces::{ActiveSpan, SpanKind, Traces};

use super::batch::Batch;
use super::executor::BatchResult;

/// From the start of the batch until its outcomes are committed. Nothing if no booking of the batch is sampled.
pub(super) struct BatchSpans(Option<Spans>);

struct Spans {
    traces: Traces,
    /// Ends with the others.
    _batch: ActiveSpan,
    bookings: HashMap<TicketId, ActiveSpan>,
}

/// The spans of announcing outcomes, each in the trace of its booking. They end once the announcement is sent.
#[derive(Debug, Default)]
pub struct AnnouncementSpans(Vec<ActiveSpan>);

impl BatchSpans {
    pub fn start(traces: &Traces, batch: &Batch) -> Self {
        Self(Self::start_sampled(traces, batch))
    }

    fn start_sampled(traces: &Traces, batch: &Batch) -> Option<Spans> {
        let published = batch.traced().map(|(_, trace)| trace);
        let mut span = traces.start_linked(SpanKind::Consumer, "settle batch", published)?;
        describe(&mut span);
        span.set("db.system.name", "postgresql");
        span.set("batch.size", i64::try_from(batch.len()).unwrap_or(i64::MAX));
        let link = Some(span.context());
        let booking_span = |(ticket, trace)| {
            let name = "settle bookings.intake";
            let mut span = traces.start_linked_child(Some(trace), SpanKind::Consumer, name, link)?;
            describe(&mut span);
            span.set_ticket(ticket);
            Some((ticket, span))
        };
        let bookings = batch.traced().filter_map(booking_span).collect();
        Some(Spans { traces: traces.clone(), _batch: span, bookings })
    }

    /// Ends the spans with the outcomes, and starts those of the announcement.
    pub fn end(self, mut result: BatchResult) -> BatchResult {
        let Some(Spans { traces, mut bookings, _batch }) = self.0 else { return result };
        for ticket in &result.tickets {
            let Some(mut span) = bookings.remove(&ticket.ticket_id) else { continue };
            let outcome = ticket.outcome.code();
            span.set("booking.outcome", outcome);
            if outcome == "failed" {
                span.fail(outcome);
            }
            result.announcement_spans.0.extend(announcement_span(&traces, ticket.ticket_id, &span));
        }
        for (commands, outcome) in [(&result.deferred, "deferred"), (&result.set_aside, "set-aside")] {
            for mut span in commands.iter().filter_map(|command| bookings.remove(&command.ticket.id)) {
                span.set("booking.outcome", outcome);
            }
        }
        for mut span in bookings.into_values() {
            span.set("booking.outcome", "already-settled");
        }
        result
    }
}

fn announcement_span(traces: &Traces, ticket: TicketId, settled: &ActiveSpan) -> Option<ActiveSpan> {
    let context = Some(settled.context());
    let mut span = traces.start_child(context, SpanKind::Producer, "publish bookings.settled")?;
    span.set("messaging.system", "rabbitmq");
    span.set("messaging.operation.name", "publish");
    span.set("messaging.operation.type", "send");
    span.set("messaging.destination.name", "bookings.settled");
    span.set_ticket(ticket);
    Some(span)
}

fn describe(span: &mut ActiveSpan) {
    span.set("messaging.system", "rabbitmq");
    span.set("messaging.operation.name", "settle");
    span.set("messaging.operation.type", "process");
    span.set("messaging.destination.name", "bookings.intake");
}

impl AnnouncementSpans {
    /// Ends them: the announcement was not sent. Its outcomes are read from the database.
    pub fn fail(self, reason: &'static str) {
        for mut span in self.0 {
            span.fail(reason);
        }
    }
}
