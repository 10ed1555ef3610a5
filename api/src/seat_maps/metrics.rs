//! How many documents about seats were made, how long that took, and how much memory they take.

use std::time::Duration;

use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{Distribution, Family, MetricsRegistry};

metric_labels! {
    struct DocumentName {
        document,
    }
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct SeatMapMetrics(Family<DocumentName, Distribution>);

impl SeatMapMetrics {
    pub fn register(registry: &mut MetricsRegistry) -> Self {
        Self(registry.latencies(
            "seat_map_build_duration_seconds",
            "Time to serialize and compress a document about the seats of a concert: the seat map, the available seats, the layout or \
             the status",
        ))
    }

    pub(super) fn record(&self, document: &'static str, took: Duration) {
        self.0.get_or_create(&DocumentName { document }).observe_duration(took);
    }
}
