//! Detects whether a long run gets slower or uses more memory, by comparing its last quarter with its first.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::metrics::Second;

/// A metric that should not change during a long run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    pub what: String,
    /// The median over the seconds of the first quarter, and over those of the last.
    pub first: u64,
    pub last: u64,
    pub has_drifted: bool,
}

/// Latencies on a noisy machine vary this much without a cause. In microseconds.
const LATENCY: Allowance = Allowance { factor: 1.5, more: 5_000 };
/// Memory grows as bounded caches fill. In kilobytes.
const MEMORY: Allowance = Allowance { factor: 1.2, more: 16 * 1024 };

struct Allowance {
    factor: f64,
    more: u64,
}

/// A shorter run shows only noise.
const MIN_SECONDS: usize = 60;

/// The drifts of a run, if it was long enough.
pub fn drifts(timeline: &[Second]) -> Vec<Drift> {
    // Only the seconds in which buyers arrived.
    let busy: Vec<&Second> = timeline.iter().filter(|second| second.is_busy()).collect();
    if busy.len() < MIN_SECONDS {
        return Vec::new();
    }
    let quarter = busy.len() / 4;
    let (first, last) = (&busy[..quarter], &busy[busy.len() - quarter..]);
    let mut drifts = Vec::new();
    let mut compare = |what: String, allowance: &Allowance, value: &dyn Fn(&Second) -> Option<u64>| {
        if let (Some(first), Some(last)) = (median(first, value), median(last, value)) {
            drifts.push(Drift { what, first, last, has_drifted: allowance.is_exceeded(first, last) });
        }
    };
    compare("accept p50".to_owned(), &LATENCY, &|second| second.accept_p50);
    compare("accept p99".to_owned(), &LATENCY, &|second| second.accept_p99);
    compare("settle p50".to_owned(), &LATENCY, &|second| second.settle_p50);
    compare("settle p99".to_owned(), &LATENCY, &|second| second.settle_p99);
    let processes: BTreeSet<&String> = busy.iter().flat_map(|second| second.memory.keys()).collect();
    for name in processes {
        compare(format!("memory of {name}"), &MEMORY, &|second| second.memory.get(name).copied());
    }
    drifts
}

impl Allowance {
    #[expect(clippy::cast_precision_loss, reason = "the values are small enough")]
    fn is_exceeded(&self, first: u64, last: u64) -> bool {
        last > first + self.more && last as f64 > first as f64 * self.factor
    }
}

pub(super) fn median(seconds: &[&Second], value: &dyn Fn(&Second) -> Option<u64>) -> Option<u64> {
    let mut values: Vec<u64> = seconds.iter().filter_map(|second| value(second)).collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(seconds: u32, value: impl Fn(u32) -> (u64, u64)) -> Vec<Second> {
        let second = |at: u32| {
            let (latency, memory) = value(at);
            Second {
                started: 10,
                accept_p99: Some(latency),
                memory: [("api".to_owned(), memory)].into(),
                ..Second::default()
            }
        };
        (0..seconds).map(second).collect()
    }

    fn drifted(timeline: &[Second]) -> Vec<String> {
        drifts(timeline).into_iter().filter(|drift| drift.has_drifted).map(|drift| drift.what).collect()
    }

    #[test]
    fn noise_is_not_reported_as_drift() {
        let noisy =
            timeline(400, |at| (10_000 + u64::from(at % 7) * 3_000, 60_000 + u64::from(at % 5) * 1_000));
        assert!(drifted(&noisy).is_empty());
        assert_eq!(drifts(&noisy).len(), 2);
    }

    #[test]
    fn steady_growth_is_reported_as_drift() {
        let growing = timeline(400, |at| (10_000 + u64::from(at) * 100, 60_000 + u64::from(at) * 200));
        assert_eq!(drifted(&growing), ["accept p99", "memory of api"]);
    }

    #[test]
    fn a_short_run_reports_no_drifts() {
        assert!(drifts(&timeline(30, |at| (u64::from(at), 1))).is_empty());
    }
}
