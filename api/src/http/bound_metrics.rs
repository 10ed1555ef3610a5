//! Exports what clients hold of each bound.

use std::sync::Arc;

use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::MetricsRegistry;

use crate::http::bound::Bound;

metric_labels! {
    struct BoundName {
        bound,
    }
}

/// Exports these bounds under their names.
#[expect(clippy::cast_precision_loss, reason = "metrics")]
pub fn register_bounds(registry: &mut MetricsRegistry, bounds: &[(&'static str, &Arc<Bound>)]) {
    let bounds: Vec<(BoundName, Arc<Bound>)> =
        bounds.iter().map(|&(bound, counted)| (BoundName { bound }, counted.clone())).collect();
    let read = |get: fn(&Bound) -> u64| {
        let bounds = bounds.clone();
        move || bounds.iter().map(|(name, bound)| (*name, get(bound) as f64)).collect()
    };
    registry.read_gauges(
        "bound_held",
        "How much clients hold of what is bounded: connections, event streams, waits, bytes of large responses",
        read(Bound::held),
    );
    registry.read_gauges("bound_max", "How much clients may hold together", read(Bound::total));
    registry.read_counters(
        "bound_refused",
        "Refusals, because the total or the share of one client was reached",
        read(Bound::refused),
    );
}
