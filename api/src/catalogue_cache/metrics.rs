//! What the cache of the catalogue counts.

use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{Counter, MetricsRegistry};

use super::CatalogueCache;
use crate::boot_clock::BootInstant;

metric_labels! {
    struct ReadLabels {
        source,
    }
}

metric_labels! {
    struct CheckLabels {
        result,
    }
}

/// Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct CacheMetrics {
    /// Reads that were served from memory.
    pub cached: Counter,
    /// Reads that waited for a body.
    pub built: Counter,
    /// Reads that were served while Postgres was away.
    pub last_known: Counter,
    pub builds: Counter,
    pub checks: Counter,
    pub failed_checks: Counter,
}

impl CacheMetrics {
    #[expect(clippy::cast_precision_loss, reason = "metrics")]
    pub fn register(&self, registry: &mut MetricsRegistry, cache: &CatalogueCache) {
        let of = |counter: &Counter| counter.get() as f64;
        let metrics = self.clone();
        registry.read_counters(
            "catalogue_reads",
            "Reads of the catalogue by where the body came from: memory (cached), made for the request or for another one at \
             the same time (built), or memory while Postgres was away (last_known)",
            move || {
                [("cached", &metrics.cached), ("built", &metrics.built), ("last_known", &metrics.last_known)]
                    .map(|(source, count)| (ReadLabels { source }, of(count)))
                    .into()
            },
        );
        let metrics = self.clone();
        registry.read_counters(
            "catalogue_checks",
            "Queries whether the catalogue has changed, by whether they succeeded (ok) or not (failed)",
            move || {
                [("ok", &metrics.checks), ("failed", &metrics.failed_checks)]
                    .map(|(result, count)| (CheckLabels { result }, of(count)))
                    .into()
            },
        );
        let metrics = self.clone();
        registry.read_counter(
            "catalogue_builds",
            "Bodies of the catalogue that were read from the database",
            move || Some(of(&metrics.builds)),
        );
        let (sized, counted, aged) = (cache.clone(), cache.clone(), cache.clone());
        registry.read_gauge(
            "catalogue_cache_bytes",
            "Memory of the ready bodies of the catalogue",
            move || Some(sized.bodies().size().0 as f64),
        );
        registry.read_gauge("catalogue_cache_bodies", "Ready bodies of the catalogue in memory", move || {
            Some(counted.bodies().size().1 as f64)
        });
        registry.read_gauge(
            "catalogue_check_age_seconds",
            "Time since the last successful check whether the catalogue has changed began, which only reads cause",
            move || Some(BootInstant::now().since(aged.0.freshness.last_checked()?).as_secs_f64()),
        );
    }
}
