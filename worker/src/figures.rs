//! What a worker's heartbeats report of its metrics.

use hamro_shared::queue::{Latencies, WorkerFigures};

use crate::metrics::{OutcomeCode, WorkerMetrics};

/// The outcomes that are reported one by one.
const OUTCOMES: [&str; 11] = [
    "confirmed",
    "expired",
    "failed",
    "seats-taken",
    "sold-out",
    "seats-not-found",
    "sale-not-open",
    "sale-closed",
    "price-changed",
    "limit-reached",
    "idempotency-key-reused",
];

/// All others, which only a newer version of this list would name.
const OTHER: &str = "other";

/// What the worker has counted since it started.
pub fn figures(metrics: &WorkerMetrics) -> WorkerFigures {
    let count = |outcome| metrics.settled.get(&OutcomeCode { outcome }).map_or(0, |counter| counter.get());
    let mut settled: Vec<(&str, u64)> = OUTCOMES.map(|outcome| (outcome, count(outcome))).into();
    let latencies = metrics.settle_latency.counts();
    // Every settled booking has a latency.
    let named: u64 = settled.iter().map(|(_, count)| count).sum();
    settled.push((OTHER, latencies.iter().sum::<u64>().saturating_sub(named)));
    settled.retain(|(_, count)| *count > 0);
    let settled = settled.into_iter().map(|(outcome, count)| (outcome.to_owned(), count)).collect();
    WorkerFigures { settled, settle_latency: Latencies::new(latencies) }
}

#[cfg(test)]
mod tests {
    use hamro_shared::telemetry::metrics::MetricsRegistry;

    use super::*;

    #[tokio::test]
    async fn outcomes_are_reported_by_name_and_unknown_ones_together() {
        let metrics = WorkerMetrics::register(&mut MetricsRegistry::new("hamro-worker"));
        assert_eq!(figures(&metrics), WorkerFigures::default());
        for outcome in ["confirmed", "confirmed", "seats-taken", "of-a-newer-version"] {
            metrics.settled.get_or_create(&OutcomeCode { outcome }).inc();
            metrics.settle_latency.observe(0.01);
        }
        let figures = figures(&metrics);
        let settled: Vec<_> =
            figures.settled.iter().map(|(outcome, count)| (outcome.as_str(), *count)).collect();
        assert_eq!(settled, [("confirmed", 2), ("other", 1), ("seats-taken", 1)]);
        assert_eq!(figures.settled_total(), 4);
    }
}
