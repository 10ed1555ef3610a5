//! Percentiles of a latency distribution.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
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
    /// The whole distribution, from which `merge` computes exact percentiles: an `HdrHistogram`, version 2, compressed,
    /// in base64. Empty in reports of older versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub histogram: String,
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
            histogram: encode(histogram),
        }
    }

    /// p50, p90, p99, p99.9 and the maximum.
    pub fn percentiles(&self) -> [u64; 5] {
        [self.p50, self.p90, self.p99, self.p999, self.max]
    }

    /// The latency of all requests of several reports. The percentiles are those of the joint distribution.
    pub fn merge<'a>(latencies: impl IntoIterator<Item = &'a Self>) -> Result<Option<Self>> {
        let mut merged: Option<Histogram<u64>> = None;
        for latency in latencies {
            let histogram = decode(&latency.histogram)?;
            match &mut merged {
                Some(merged) => merged.add(histogram).context("merging two histograms")?,
                None => merged = Some(histogram),
            }
        }
        Ok(merged.as_ref().map(Self::of_any))
    }
}

fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("writing to memory does not fail");
    BASE64_STANDARD.encode(bytes)
}

fn decode(text: &str) -> Result<Histogram<u64>> {
    ensure!(!text.is_empty(), "the report has no histograms, because an older version wrote it");
    let bytes = BASE64_STANDARD.decode(text).context("a histogram is not valid base64")?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).context("a histogram is corrupt")
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
    use crate::metrics::histogram;

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

    #[test]
    fn merged_percentiles_are_those_of_all_requests_together() {
        let (mut fast, mut slow, mut both) = (histogram(), histogram(), histogram());
        for micros in 1..=9_900 {
            fast.record(micros % 700 + 1).unwrap();
            both.record(micros % 700 + 1).unwrap();
        }
        for micros in 1..=100 {
            slow.record(micros * 37_000).unwrap();
            both.record(micros * 37_000).unwrap();
        }
        let parts = [Latency::of_any(&fast), Latency::of_any(&slow)];
        let merged = Latency::merge(&parts).unwrap().unwrap();
        assert_eq!(merged, Latency::of_any(&both));
        // The average of the percentiles would be something else.
        assert!(merged.p99 < 1_000 && merged.p999 > 1_000_000, "{merged:?}");
        assert_eq!(Latency::merge([]).unwrap(), None);
    }

    #[test]
    fn a_report_without_histograms_cannot_be_merged() {
        let old = Latency { histogram: String::new(), ..Latency::of_any(&histogram()) };
        let error = Latency::merge([&old]).unwrap_err().to_string();
        assert!(error.contains("an older version"), "{error}");
    }
}
