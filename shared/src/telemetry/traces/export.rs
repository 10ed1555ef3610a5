//! Sends ended spans to the collector, from a task of its own.
//!
//! A span that ends goes into a bounded queue, and never waits: if the collector is away, slow or refuses what it
//! receives, spans are dropped and counted, and one line a minute says why. The library's own processor is not used: it
//! runs on a thread on which hyper's client does not work, and what it drops cannot be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::collector::LastError;
use crate::telemetry::metrics::MetricsRegistry;

/// Spans that wait to be exported: two megabytes or so.
const QUEUE: usize = 4096;
/// Spans in one request to the collector.
const BATCH: usize = 512;
/// How long a span waits for others.
const EVERY: Duration = Duration::from_secs(1);
/// How long the last export may take when the program stops.
const LAST_EXPORT: Duration = Duration::from_secs(1);
const REPORT_EVERY: Duration = Duration::from_mins(1);

/// How many spans were dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct DroppedSpans(Arc<AtomicU64>);

impl DroppedSpans {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, spans: usize) {
        self.0.fetch_add(spans as u64, Ordering::Relaxed);
    }
}

/// The library's side of the queue.
#[derive(Debug)]
pub(super) struct SpanQueue {
    sender: mpsc::Sender<SpanData>,
    dropped: DroppedSpans,
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.sender.try_send(span).is_err() {
            self.dropped.add(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, _: &Resource) {}
}

/// The running export. Dropping it ends it.
#[must_use = "`finish` exports the last spans"]
pub struct TraceExport(Option<Running>);

struct Running {
    task: AbortOnDropHandle<()>,
    stop: CancellationToken,
    dropped: DroppedSpans,
}

impl TraceExport {
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Starts the export. Must be called in the runtime.
    pub(super) fn start(
        exporter: SpanExporter,
        collector: String,
        last_error: LastError,
    ) -> (Self, SpanQueue) {
        let (sender, spans) = mpsc::channel(QUEUE);
        let (dropped, stop) = (DroppedSpans::default(), CancellationToken::new());
        let report = Report { collector, last_error, dropped: dropped.clone(), reported: 0, next: None };
        let exporting = Exporting { spans, exporter, stop: stop.clone(), report };
        let task = AbortOnDropHandle::new(tokio::spawn(exporting.run()));
        (Self(Some(Running { task, stop, dropped: dropped.clone() })), SpanQueue { sender, dropped })
    }

    /// Exports how many spans were dropped: none without an export.
    #[expect(clippy::cast_precision_loss, reason = "a counter of the text format")]
    pub fn register(&self, registry: &mut MetricsRegistry) {
        let dropped = self.0.as_ref().map(|running| running.dropped.clone()).unwrap_or_default();
        registry.read_counter(
            "trace_spans_dropped",
            "Spans of traces that were not exported, because the collector did not take them",
            move || Some(dropped.count() as f64),
        );
    }

    /// Exports what has ended so far. Takes at most a second.
    pub async fn finish(self) {
        if let Some(Running { task, stop, .. }) = self.0 {
            stop.cancel();
            let _ = timeout(LAST_EXPORT, task).await;
        }
    }
}

struct Exporting {
    spans: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    stop: CancellationToken,
    report: Report,
}

impl Exporting {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            let spans = batch.len();
            if let Err(error) = self.exporter.export(batch).await {
                self.report.dropped.add(spans);
                self.report.failed(&error.to_string());
            }
        }
    }

    /// Waits for a span, and then a second at most for others. `None` once the program stops and all are taken.
    async fn next_batch(&mut self) -> Option<Vec<SpanData>> {
        let mut batch = Vec::with_capacity(BATCH);
        let mut due = None;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            tokio::select! {
                received = self.spans.recv_many(&mut batch, room) => match received {
                    0 => break,
                    _ => due = due.or_else(|| Some(Instant::now() + EVERY)),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => break,
                () = self.stop.cancelled(), if !self.spans.is_closed() => self.spans.close(),
            }
        }
        (!batch.is_empty()).then_some(batch)
    }
}

/// Logs at most one line a minute about dropped spans.
struct Report {
    collector: String,
    last_error: LastError,
    dropped: DroppedSpans,
    reported: u64,
    next: Option<Instant>,
}

impl Report {
    fn failed(&mut self, error: &str) {
        let cause = self.last_error.take().map(|cause| format!(": {cause}")).unwrap_or_default();
        if self.next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        self.next = Some(Instant::now() + REPORT_EVERY);
        let dropped = self.dropped.count();
        let spans = dropped - self.reported;
        self.reported = dropped;
        warn!(
            trace.spans_dropped = spans,
            "{spans} spans of traces dropped: the collector at {} does not take them; bookings are not affected: {error}{cause}",
            self.collector
        );
    }
}
