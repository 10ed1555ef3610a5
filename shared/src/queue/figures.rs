//! What a process has counted since it started, as its heartbeats report it. An api instance calculates rates and percentiles
//! of the whole installation from the differences between heartbeats.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::telemetry::metrics::LATENCIES;

/// Counts of an api instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiFigures {
    /// Bookings that the broker has confirmed.
    pub accepted: u64,
    pub accept_latency: Latencies,
    /// Responses with a problem document, by its code. Codes that did not occur are left out.
    pub refused: BTreeMap<String, u64>,
}

/// Counts of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerFigures {
    /// Settled bookings, by outcome. Outcomes that did not occur are left out.
    pub settled: BTreeMap<String, u64>,
    pub settle_latency: Latencies,
}

/// How many durations are in each bucket. The bounds are [`LATENCIES`]; a version with other bounds must use another field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    /// `counts` has one element for each bound, and one for what is above all of them. Zeros at the end are not sent.
    pub fn new(mut counts: Vec<u64>) -> Self {
        counts.truncate(LATENCIES.len() + 1);
        while counts.last() == Some(&0) {
            counts.pop();
        }
        Self(counts)
    }

    /// The number of durations in this bucket.
    pub fn bucket(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }
}

impl WorkerFigures {
    /// The number of settled bookings.
    pub fn settled_total(&self) -> u64 {
        self.settled.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_at_the_end_of_latencies_are_not_sent() {
        let latencies = Latencies::new(vec![0, 3, 0, 0]);
        assert_eq!(serde_json::to_string(&latencies).unwrap(), "[0,3]");
        assert_eq!((latencies.bucket(1), latencies.bucket(2), latencies.bucket(99)), (3, 0, 0));
    }

    #[test]
    fn figures_of_a_busy_process_are_small() {
        let many = u64::from(u32::MAX);
        let codes = (0..30).map(|code| (format!("a-long-problem-code-{code:02}"), many)).collect();
        let latencies = Latencies::new(vec![many; LATENCIES.len() + 1]);
        let figures = ApiFigures { accepted: many, accept_latency: latencies, refused: codes };
        assert!(serde_json::to_vec(&figures).unwrap().len() < 1_500);
    }
}
