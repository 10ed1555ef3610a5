//! What the publisher counts.

use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{Counter, Distribution, Family, MetricsRegistry};
use tokio::time::Instant;

use super::publisher::AcceptError;
use crate::metrics::ApiMetrics;

metric_labels! {
    struct FailureReason {
        reason,
    }
}

/// The counters of the publisher. Clones share their counts.
#[derive(Clone)]
pub struct PublisherMetrics {
    accepted: Counter,
    accept_latency: Distribution,
    messages: Counter,
    failures: Family<FailureReason, Counter>,
}

impl PublisherMetrics {
    pub fn register(registry: &mut MetricsRegistry, metrics: &ApiMetrics) -> Self {
        let failures = registry.counters(
            "publish_failures",
            "Bookings that were not published (busy: too many waited; unavailable: no connection), that the broker refused \
             (queue_full), or that it did not confirm in time (unconfirmed)",
        );
        let metrics = Self {
            accepted: metrics.accepted.clone(),
            accept_latency: metrics.accept_latency.clone(),
            messages: registry
                .counter("published_messages", "Messages with bookings that the broker has confirmed"),
            failures,
        };
        // An alert on a failure that has not occurred needs its series.
        for error in
            [AcceptError::Busy, AcceptError::Unavailable, AcceptError::QueueFull, AcceptError::Unknown]
        {
            drop(metrics.failures.get_or_create(&reason(error)));
        }
        metrics
    }

    /// The broker has confirmed a message. `since` says when the publication of each of its bookings was requested.
    pub(super) fn count_confirmed(&self, since: impl ExactSizeIterator<Item = Instant>) {
        if cfg!(feature = "without-metrics") {
            return;
        }
        let now = Instant::now();
        self.messages.inc();
        self.accepted.inc_by(since.len() as u64);
        for since in since {
            self.accept_latency.observe_duration(now.saturating_duration_since(since));
        }
    }

    pub(super) fn count_failure(&self, error: AcceptError) {
        self.failures.get_or_create(&reason(error)).inc();
    }
}

fn reason(error: AcceptError) -> FailureReason {
    let reason = match error {
        AcceptError::Busy => "busy",
        AcceptError::Unavailable => "unavailable",
        AcceptError::QueueFull => "queue_full",
        AcceptError::Unknown => "unconfirmed",
    };
    FailureReason { reason }
}
