//! What a process has counted between two of its heartbeats.

use std::collections::BTreeMap;

use hamro_shared::queue::{Latencies, ProcessState};
use hamro_shared::telemetry::metrics::LATENCIES;

/// The number of buckets of a histogram of durations.
pub const BUCKETS: usize = LATENCIES.len() + 1;

pub type Buckets = [u64; BUCKETS];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Increase {
    pub accepted: u64,
    pub refused: BTreeMap<String, u64>,
    pub settled: BTreeMap<String, u64>,
    pub accept_latency: Buckets,
    pub settle_latency: Buckets,
}

impl Increase {
    /// Nothing, if one of them has no figures.
    pub fn between(earlier: &ProcessState, later: &ProcessState) -> Self {
        match (earlier, later) {
            (ProcessState::Api(earlier), ProcessState::Api(later)) => {
                let (Some(earlier), Some(later)) = (&earlier.figures, &later.figures) else {
                    return Self::default();
                };
                Self {
                    accepted: later.accepted.saturating_sub(earlier.accepted),
                    refused: named(&earlier.refused, &later.refused),
                    accept_latency: buckets(&earlier.accept_latency, &later.accept_latency),
                    ..Self::default()
                }
            }
            (ProcessState::Worker(earlier), ProcessState::Worker(later)) => {
                let (Some(earlier), Some(later)) = (&earlier.figures, &later.figures) else {
                    return Self::default();
                };
                Self {
                    settled: named(&earlier.settled, &later.settled),
                    settle_latency: buckets(&earlier.settle_latency, &later.settle_latency),
                    ..Self::default()
                }
            }
            _ => Self::default(),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn named(earlier: &BTreeMap<String, u64>, later: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let increases = later.iter().map(|(name, count)| {
        let increase = count.saturating_sub(earlier.get(name).copied().unwrap_or(0));
        (name.clone(), increase)
    });
    increases.filter(|(_, increase)| *increase > 0).collect()
}

fn buckets(earlier: &Latencies, later: &Latencies) -> Buckets {
    std::array::from_fn(|index| later.bucket(index).saturating_sub(earlier.bucket(index)))
}
