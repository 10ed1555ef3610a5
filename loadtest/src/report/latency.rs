//! Percentiles of a latency distribution.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// In microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
    /// Quantiles and their latencies, for a chart.
    pub curve: Vec<(f64, u64)>,
}

/// Points of the curve each time the distance to 100 % halves.
const TICKS: u32 = 4;

impl Latency {
    /// `None` if the histogram is empty.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self::of_any(histogram))
    }

    pub fn of_any(histogram: &Histogram<u64>) -> Self {
        let at = |share| histogram.value_at_quantile(share);
        let curve = histogram.iter_quantiles(TICKS).map(|step| (step.quantile(), step.value_iterated_to()));
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
            curve: curve.collect(),
        }
    }
}

/// Formats a latency with three digits, such as `1.83 ms`.
#[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
pub fn shown(micros: u64) -> String {
    let digits = |value: f64, unit: &str| {
        let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        format!("{value:.decimals$} {unit}")
    };
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => digits(micros as f64 / 1e3, "ms"),
        _ => digits(Duration::from_micros(micros).as_secs_f64(), "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_shown_with_three_digits() {
        for (micros, expected) in
            [(7, "7 µs"), (1_834, "1.83 ms"), (25_312, "25.3 ms"), (329_000, "329 ms"), (2_500_000, "2.50 s")]
        {
            assert_eq!(shown(micros), expected);
        }
    }

    #[test]
    fn a_distribution_is_summarized_by_its_percentiles() {
        let mut histogram = Histogram::new(3).unwrap();
        assert!(Latency::of(&histogram).is_none());
        (1..=1_000).for_each(|micros| histogram.record(micros).unwrap());
        let latency = Latency::of(&histogram).unwrap();
        assert_eq!((latency.count, latency.p50, latency.p99, latency.max), (1_000, 500, 990, 1_000));
        assert!(latency.curve.is_sorted());
    }
}
