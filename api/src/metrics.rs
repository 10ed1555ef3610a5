//! What the api counts. docs/METRICS.md lists all metrics.

use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{Counter, Distribution, Family, LATENCIES, MetricsRegistry};

/// The counters and histograms of the api. Clones share their counts.
#[derive(Clone)]
pub struct ApiMetrics {
    /// Bookings that the broker has confirmed.
    pub accepted: Counter,
    /// How long it takes to accept a booking: from the complete request to the broker's confirm.
    pub accept_latency: Distribution,
    /// Requests that were refused or failed: those with a problem document.
    pub refusals: Family<RefusalCode, Counter>,
}

metric_labels! {
    pub struct RefusalCode {
        /// The code of the problem document.
        code,
    }
}

impl ApiMetrics {
    pub fn register(registry: &mut MetricsRegistry) -> Self {
        Self {
            accepted: registry.counter("bookings_accepted", "Bookings that the broker has confirmed"),
            accept_latency: registry.distribution(
                "booking_accept_duration_seconds",
                "Time from the complete request to the broker's confirm of the booking",
                LATENCIES,
            ),
            refusals: registry.counters("http_refusals", "Responses with a problem document, by its code"),
        }
    }
}
