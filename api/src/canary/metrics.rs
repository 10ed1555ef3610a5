//! What the canary counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use hamro_shared::domain::Timestamp;
use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{Counter, Distribution, Family, LATENCIES, MetricsRegistry};

use super::attempt::Ended;

/// The counters of the canary. Clones share their counts.
#[derive(Clone)]
pub struct CanaryMetrics {
    runs: Family<RunResult, Counter>,
    duration: Distribution,
    last_success: LastSuccess,
}

metric_labels! {
    struct RunResult {
        result,
    }
}

const RESULTS: [&str; 3] = ["success", "failure", "paused"];

/// In Unix milliseconds; [`i64::MIN`] before the first success.
#[derive(Clone)]
struct LastSuccess(Arc<AtomicI64>);

impl CanaryMetrics {
    /// `every` is how often the canary runs; `None` if it is off.
    pub fn register(registry: &mut MetricsRegistry, every: Option<Duration>) -> Self {
        registry.read_gauge(
            "canary_interval_seconds",
            "How often the canary runs; absent if it is off",
            move || every.map(|every| every.as_secs_f64()),
        );
        let runs = registry.counters(
            "canary_runs",
            "Runs of the canary by result; paused while the controls of the intake refuse its bookings",
        );
        let duration = registry.distribution(
            "canary_duration_seconds",
            "Duration of successful runs of the canary, from the choice of a seat to its release",
            LATENCIES,
        );
        let last_success = LastSuccess(Arc::new(AtomicI64::new(i64::MIN)));
        let read = last_success.clone();
        registry.read_gauge(
            "canary_last_success_timestamp_seconds",
            "When the canary last succeeded on any instance, as a Unix time; absent before the first success",
            move || read.seconds(),
        );
        Self { runs, duration, last_success }
    }

    /// Exports every result as zero, so that the first failure is an increase.
    pub fn expect_runs(&self) {
        for result in RESULTS {
            self.runs.get_or_create(&RunResult { result }).inc_by(0);
        }
    }

    pub(super) fn count(&self, ended: &Ended) {
        let result = match ended {
            Ended::Succeeded => RESULTS[0],
            Ended::Failed(_) => RESULTS[1],
            Ended::Paused(_) => RESULTS[2],
        };
        self.runs.get_or_create(&RunResult { result }).inc();
    }

    pub(super) fn succeeded_in(&self, duration: Duration) {
        self.duration.observe_duration(duration);
    }

    pub(super) fn set_last_success(&self, at: Option<Timestamp>) {
        let LastSuccess(millis) = &self.last_success;
        millis.store(at.map_or(i64::MIN, Timestamp::unix_millis), Ordering::Relaxed);
    }
}

impl LastSuccess {
    #[expect(clippy::cast_precision_loss, reason = "a time in this era")]
    fn seconds(&self) -> Option<f64> {
        match self.0.load(Ordering::Relaxed) {
            i64::MIN => None,
            millis => Some(millis as f64 / 1_000.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::attempt::{Failure, Step};
    use super::*;

    #[tokio::test]
    async fn the_time_of_the_last_success_is_absent_before_it_and_every_result_is_exported() {
        let mut registry = MetricsRegistry::new("hamro-api");
        let metrics = CanaryMetrics::register(&mut registry, None);
        metrics.expect_runs();
        let lines = |registry: MetricsRegistry| {
            let text = registry.finish().render();
            let lines = text.lines().filter(|line| line.starts_with("hamro_canary"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        metrics.count(&Ended::Failed(Failure::new(Step::Accept, anyhow::anyhow!("503 queue-full"))));
        let before = lines(registry);
        for (result, count) in [("success", 0), ("failure", 1), ("paused", 0)] {
            let line = format!("hamro_canary_runs_total{{result=\"{result}\"}} {count}");
            assert!(before.contains(&line), "{before:?}");
        }
        assert!(!before.iter().any(|line| line.contains("last_success")), "{before:?}");

        let mut registry = MetricsRegistry::new("hamro-api");
        let metrics = CanaryMetrics::register(&mut registry, None);
        metrics.set_last_success(Timestamp::from_unix_millis(1_795_364_062_341));
        let expected = "hamro_canary_last_success_timestamp_seconds 1795364062.341";
        assert!(lines(registry).contains(&expected.to_owned()));
    }
}
