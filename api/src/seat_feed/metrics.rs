//! How many seat maps are in memory and how much they take, and how many announced outcomes could not be read.

use hamro_shared::telemetry::metrics::MetricsRegistry;

use super::SeatFeed;

impl SeatFeed {
    /// Exports them.
    #[expect(clippy::cast_precision_loss, reason = "metrics")]
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let watched = self.watched.clone();
        registry.read_gauge(
            "seat_feed_watched_maps",
            "Seat maps that clients watch or ask for, or did so in the last half minute",
            move || Some(watched.all().len() as f64),
        );
        let watched = self.watched.clone();
        registry.read_gauge("seat_feed_bytes", "Memory of the seats of watched maps, in bytes", move || {
            Some(watched.all().iter().map(|seat_map| seat_map.bytes()).sum::<usize>() as f64)
        });
        let unreadable = self.unreadable.clone();
        registry.read_counter(
            "seat_feed_unreadable_outcomes",
            "Announced outcomes that could not be read. Watched seat maps are then reloaded",
            move || Some(unreadable.get() as f64),
        );
    }
}
