//! Metrics in the Prometheus text format.
//!
//! A component registers its metrics once, at the start, and keeps the handles: to count is then one atomic operation, and
//! what is counted can be read back, for heartbeats and for the live view. Values that exist anyway, such as a length,
//! are read when the metrics are rendered. Nothing is static: a test has a registry of its own.
//!
//! All names begin with `hamro_`, except those of the process, which have the names that dashboards expect. They have the base
//! unit as a suffix, and counters end in `_total`, which the encoder adds. docs/METRICS.md lists them. A label has few values,
//! which the program knows in advance: never text of a request ([`metric_labels!`](crate::metric_labels)).

mod distribution;
mod exposition;
mod labels;
mod listener;
mod local_request;
mod process;

use std::fmt::Debug;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
pub use prometheus_client::metrics::counter::Counter;
pub use prometheus_client::metrics::family::Family;
pub use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Metric, Registry};

pub use self::distribution::{BATCH_SIZES, Distribution, LATENCIES, quantile};
pub use self::exposition::Exposition;
pub use self::labels::{EncodeLabelSet, LabelSetEncoder, Labels, NoLabels};
pub use self::listener::{METRICS_PATH, MetricsConfig, MetricsListener};
pub use self::local_request::is_local_request;

/// Collects the metrics of a program while it starts.
pub struct MetricsRegistry {
    registry: Registry,
    descriptions: Vec<Description>,
}

/// A metric as docs/METRICS.md lists it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Description {
    /// The full name, as it is exported.
    pub name: String,
    pub kind: &'static str,
    pub help: &'static str,
    /// The names of its labels, but not `le` of a histogram.
    pub labels: &'static [&'static str],
}

impl MetricsRegistry {
    /// A registry with what every program exports: its version, its process and its tokio runtime.
    ///
    /// `program` is `hamro-api` or `hamro-worker`. Must be called in the runtime.
    pub fn new(program: &'static str) -> Self {
        let mut registry = Self::empty();
        process::register(&mut registry, program);
        registry
    }

    /// A registry whose metrics nobody reads: for tests, and for commands.
    pub fn unexported() -> Self {
        Self::empty()
    }

    fn empty() -> Self {
        Self { registry: Registry::default(), descriptions: Vec::new() }
    }

    /// A counter. `name` has neither the prefix nor `_total`.
    pub fn counter(&mut self, name: &str, help: &'static str) -> Counter {
        self.register::<NoLabels, _>(name, help, Counter::default())
    }

    /// A counter for each set of labels that is used.
    pub fn counters<L: Labels>(&mut self, name: &str, help: &'static str) -> Family<L, Counter> {
        self.register::<L, _>(name, help, Family::default())
    }

    pub fn gauge(&mut self, name: &str, help: &'static str) -> Gauge {
        self.register::<NoLabels, _>(name, help, Gauge::default())
    }

    pub fn gauges<L: Labels>(&mut self, name: &str, help: &'static str) -> Family<L, Gauge> {
        self.register::<L, _>(name, help, Family::default())
    }

    /// A histogram with these upper bounds, such as [`LATENCIES`].
    pub fn distribution(&mut self, name: &str, help: &'static str, bounds: &'static [f64]) -> Distribution {
        self.register_distribution(name, help, Distribution::new(bounds))
    }

    /// A histogram that a component has made, perhaps before there was a registry.
    pub fn register_distribution(
        &mut self,
        name: &str,
        help: &'static str,
        distribution: Distribution,
    ) -> Distribution {
        self.register::<NoLabels, _>(name, help, distribution)
    }

    /// A histogram of durations for each set of labels that is used.
    pub fn latencies<L: Labels>(&mut self, name: &str, help: &'static str) -> Family<L, Distribution> {
        self.register::<L, _>(name, help, Family::default())
    }

    /// A gauge whose value is read when the metrics are rendered; no sample while it is `None`.
    ///
    /// `read` lives until the program ends. What ends when it is dropped, such as a queue's sender, must be weak in it.
    pub fn read_gauge(
        &mut self,
        name: &str,
        help: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.read_gauges(name, help, move || read().map(|value| (NoLabels, value)).into_iter().collect());
    }

    /// Gauges that are read when the metrics are rendered, each with its labels.
    pub fn read_gauges<L: Labels>(
        &mut self,
        name: &str,
        help: &'static str,
        read: impl Fn() -> Vec<(L, f64)> + Send + Sync + 'static,
    ) {
        self.read_on_scrape(format!("hamro_{name}"), MetricType::Gauge, help, read);
    }

    /// A counter that is counted elsewhere, and read when the metrics are rendered.
    pub fn read_counter(
        &mut self,
        name: &str,
        help: &'static str,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        self.read_counters(name, help, move || read().map(|value| (NoLabels, value)).into_iter().collect());
    }

    /// Counters that are counted elsewhere, each with its labels.
    pub fn read_counters<L: Labels>(
        &mut self,
        name: &str,
        help: &'static str,
        read: impl Fn() -> Vec<(L, f64)> + Send + Sync + 'static,
    ) {
        self.read_on_scrape(format!("hamro_{name}"), MetricType::Counter, help, read);
    }

    fn read_on_scrape<L: Labels>(
        &mut self,
        name: String,
        kind: MetricType,
        help: &'static str,
        read: impl Fn() -> Vec<(L, f64)> + Send + Sync + 'static,
    ) {
        self.describe::<L>(&name, kind, help);
        self.registry.register_collector(Box::new(ReadOnScrape { name, kind, help, read }));
    }

    /// What renders these metrics from now on.
    pub fn finish(self) -> Exposition {
        Exposition::new(self.registry, self.descriptions)
    }

    fn register<L: Labels, M: Metric + TypedMetric + Clone>(
        &mut self,
        name: &str,
        help: &'static str,
        metric: M,
    ) -> M {
        let name = format!("hamro_{name}");
        self.describe::<L>(&name, M::TYPE, help);
        self.registry.register(name, help, metric.clone());
        metric
    }

    fn describe<L: Labels>(&mut self, name: &str, kind: MetricType, help: &'static str) {
        let name =
            if matches!(kind, MetricType::Counter) { format!("{name}_total") } else { name.to_owned() };
        let is_new = self.descriptions.iter().all(|description| description.name != name);
        debug_assert!(is_new, "the metric {name} is registered twice");
        self.descriptions.push(Description { name, kind: kind_name(kind), help, labels: L::NAMES });
    }
}

fn kind_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::Counter => "counter",
        MetricType::Histogram => "histogram",
        _ => "gauge",
    }
}

/// Reads values when the metrics are rendered.
struct ReadOnScrape<F> {
    name: String,
    kind: MetricType,
    help: &'static str,
    read: F,
}

impl<F> Debug for ReadOnScrape<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReadOnScrape").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<L: Labels, F: Fn() -> Vec<(L, f64)> + Send + Sync + 'static> Collector for ReadOnScrape<F> {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let values = (self.read)();
        if values.is_empty() {
            return Ok(());
        }
        // The library adds the full stop to the help of the metrics that it registers itself.
        let help = format!("{}.", self.help);
        let mut metric = encoder.encode_descriptor(&self.name, &help, None, self.kind)?;
        for (labels, value) in values {
            let mut sample = metric.encode_family(&labels)?;
            match self.kind {
                MetricType::Counter => sample.encode_counter::<NoLabelSet, _, f64>(&value, None)?,
                _ => sample.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::metric_labels! {
        struct Code {
            code,
        }
    }

    #[test]
    fn metrics_are_rendered_in_the_text_format() {
        let mut registry = MetricsRegistry::empty();
        let accepted = registry.counter("bookings_accepted", "Bookings that were accepted");
        let refused = registry.counters::<Code>("refusals", "Requests that were refused, by problem code");
        registry.read_gauge("queue_bookings", "Bookings in the queue", || Some(2.5));
        registry.read_gauge("queue_oldest_age_seconds", "Unknown", || None);
        let sizes = registry.distribution("batch_bookings", "Bookings in a batch", &[1.0, 8.0]);
        accepted.inc_by(7);
        refused.get_or_create(&Code { code: "queue-full" }).inc();
        for size in [1.0, 2.0, 9.0] {
            sizes.observe(size);
        }
        let expected = "\
# HELP hamro_bookings_accepted_total Bookings that were accepted.
# TYPE hamro_bookings_accepted_total counter
hamro_bookings_accepted_total 7
# HELP hamro_refusals_total Requests that were refused, by problem code.
# TYPE hamro_refusals_total counter
hamro_refusals_total{code=\"queue-full\"} 1
# HELP hamro_batch_bookings Bookings in a batch.
# TYPE hamro_batch_bookings histogram
hamro_batch_bookings_bucket{le=\"1\"} 1
hamro_batch_bookings_bucket{le=\"8\"} 2
hamro_batch_bookings_bucket{le=\"+Inf\"} 3
hamro_batch_bookings_sum 12.0
hamro_batch_bookings_count 3
# HELP hamro_queue_bookings Bookings in the queue.
# TYPE hamro_queue_bookings gauge
hamro_queue_bookings 2.5
";
        let rendered = registry.finish().render();
        let mut lines: Vec<&str> = rendered.lines().collect();
        let mut expected: Vec<&str> = expected.lines().collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected);
    }
}
