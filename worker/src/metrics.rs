//! What a worker counts. docs/METRICS.md lists all metrics.

use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{Counter, Distribution, Family, LATENCIES, MetricsRegistry};

/// The counters and histograms of a worker. Clones share their counts.
#[derive(Clone)]
pub struct WorkerMetrics {
    /// Bookings that were settled, each once.
    pub settled: Family<OutcomeCode, Counter>,
    /// How long it took to settle a booking: from the issue of its ticket to the commit.
    pub settle_latency: Distribution,
    /// Bookings that were stored as dead letters.
    pub dead_letters: Family<DeadLetterCode, Counter>,
}

metric_labels! {
    pub struct OutcomeCode {
        /// `confirmed`, `expired`, `failed`, or the code of the rejection, such as `seats-taken`.
        outcome,
    }
}

metric_labels! {
    pub struct DeadLetterCode {
        reason,
    }
}

impl WorkerMetrics {
    pub fn register(registry: &mut MetricsRegistry) -> Self {
        Self {
            settled: registry.counters("bookings_settled", "Bookings that were settled, by outcome"),
            settle_latency: registry.distribution(
                "booking_settle_duration_seconds",
                "Time from the issue of the ticket to the commit of its outcome",
                LATENCIES,
            ),
            dead_letters: registry
                .counters("dead_letters_stored", "Dead letters that were stored, by reason"),
        }
    }
}
