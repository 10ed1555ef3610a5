//! A histogram without a lock, whose buckets can be read.
//!
//! The library's histogram takes a lock for each observation, and does not tell what is in its buckets, from which the
//! live view calculates percentiles.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds for durations in seconds: from a millisecond to the longest wait for an outcome, in steps of about 2.
pub const LATENCIES: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Upper bounds for the number of bookings in a batch.
pub const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The sum is counted in millionths, so that it is one atomic addition.
const SUM_SCALE: f64 = 1e6;

/// A histogram. Clones share their counts.
#[derive(Clone, Debug)]
pub struct Distribution(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above the last.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Default for Distribution {
    /// A histogram of durations in seconds.
    fn default() -> Self {
        Self::new(LATENCIES)
    }
}

impl Distribution {
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Counts { bounds, buckets, sum: AtomicU64::new(0) }))
    }

    /// Counts a value. Negative values count as 0.
    pub fn observe(&self, value: f64) {
        self.observe_times(value, 1);
    }

    /// Counts a value as often as it occurred.
    pub fn observe_times(&self, value: f64, times: u64) {
        if cfg!(feature = "without-metrics") {
            return;
        }
        let Counts { bounds, buckets, sum } = &*self.0;
        let value = value.max(0.0);
        buckets[bounds.partition_point(|bound| *bound < value)].fetch_add(times, Ordering::Relaxed);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative")]
        sum.fetch_add(((value * SUM_SCALE) as u64).saturating_mul(times), Ordering::Relaxed);
    }

    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// How many values are in each bucket, since the program started. The last bucket has those above all bounds.
    pub fn counts(&self) -> Vec<u64> {
        self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect()
    }
}

/// The value below which `share` of the counted values are, interpolated within its bucket. `None` without values.
/// Values above the last bound count as the last bound.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub fn quantile(counts: &[u64], bounds: &[f64], share: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let rank = share * total as f64;
    let mut below = 0.0;
    for (index, &count) in counts.iter().enumerate() {
        let count = count as f64;
        if count > 0.0 && below + count >= rank {
            let lower = if index == 0 { 0.0 } else { bounds[index - 1] };
            let upper = bounds.get(index).copied().unwrap_or(lower);
            return Some(lower + (upper - lower) * ((rank - below) / count).clamp(0.0, 1.0));
        }
        below += count;
    }
    bounds.last().copied()
}

impl EncodeMetric for Distribution {
    #[expect(clippy::cast_precision_loss, reason = "as in the text format")]
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let counts = self.counts();
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
        let sum = self.0.sum.load(Ordering::Relaxed) as f64 / SUM_SCALE;
        encoder.encode_histogram::<NoLabelSet>(sum, counts.iter().sum(), &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl TypedMetric for Distribution {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_in_the_bucket_whose_upper_bound_it_does_not_exceed() {
        let distribution = Distribution::new(&[1.0, 2.0]);
        for value in [-1.0, 0.0, 1.0, 1.1, 2.0, 2.1] {
            distribution.observe(value);
        }
        distribution.observe_times(7.0, 10);
        assert_eq!(distribution.counts(), [3, 2, 11]);
    }

    #[test]
    fn a_quantile_is_interpolated_within_its_bucket() {
        let bounds = &[1.0, 2.0, 4.0];
        assert_eq!(quantile(&[0, 0, 0, 0], bounds, 0.5), None);
        assert_eq!(quantile(&[0, 10, 0, 0], bounds, 0.5), Some(1.5));
        assert_eq!(quantile(&[10, 0, 10, 0], bounds, 0.99), Some(3.96));
        assert_eq!(quantile(&[0, 0, 0, 5], bounds, 0.5), Some(4.0));
    }
}
