//! How many documents about seats were made, how much processor time that took, and how much memory they take.

use std::time::Duration;

use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{Distribution, Family, MetricsRegistry};

use super::SeatMaps;

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
            "Processor time to serialize and compress a document about the seats of a concert: the seat map, the available seats, the layout or \
             the status",
        ))
    }

    pub(super) fn record(&self, document: &'static str, took: Duration) {
        self.0.get_or_create(&DocumentName { document }).observe_duration(took);
    }
}

impl SeatMaps {
    /// Exports how much memory the documents take.
    #[expect(clippy::cast_precision_loss, reason = "metrics")]
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let seat_maps = self.clone();
        registry.read_gauge(
            "seat_map_bytes",
            "Memory of the compressed seat maps, lists of available seats, layouts and status documents, in bytes",
            move || Some(seat_maps.bytes() as f64),
        );
    }
}
