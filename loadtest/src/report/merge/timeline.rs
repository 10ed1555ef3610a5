//! Aligns and adds the timelines of several load generators.

use std::collections::BTreeMap;

use crate::metrics::Second;
use crate::report::Report;

/// How much later than the first loader a loader began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offset {
    pub seconds: f64,
}

impl Offset {
    /// The offset of each report, by the clocks of the machines.
    #[expect(clippy::cast_precision_loss, reason = "milliseconds fit")]
    pub fn of_all(reports: &[Report]) -> Vec<Self> {
        let first_due =
            |report: &Report| report.loaders.iter().map(|loader| loader.first_due).min().unwrap_or_default();
        let earliest = reports.iter().map(first_due).min().unwrap_or_default();
        reports.iter().map(|report| Self { seconds: (first_due(report) - earliest) as f64 / 1e3 }).collect()
    }
}

/// Adds the seconds of all loaders. Percentiles of a second cannot be added: the highest is an upper bound. The queue is
/// the same for all loaders.
pub fn merge_timelines(reports: &[Report], offsets: &[Offset]) -> Vec<Second> {
    let mut merged: BTreeMap<u64, Second> = BTreeMap::new();
    for (report, offset) in reports.iter().zip(offsets) {
        for second in &report.timeline {
            let at = (second.at + offset.seconds).round();
            let sum = merged.entry(key(at)).or_insert_with(|| Second { at, ..Second::default() });
            add(sum, second);
        }
    }
    merged.into_values().collect()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of seconds")]
fn key(at: f64) -> u64 {
    at.max(0.0) as u64
}

fn add(sum: &mut Second, second: &Second) {
    sum.started += second.started;
    sum.accepted += second.accepted;
    sum.refused += second.refused;
    sum.lost += second.lost;
    sum.settled += second.settled;
    sum.polled += second.polled;
    sum.visits += second.visits;
    sum.in_flight += second.in_flight;
    sum.accept_p50 = sum.accept_p50.max(second.accept_p50);
    sum.accept_p99 = sum.accept_p99.max(second.accept_p99);
    sum.settle_p50 = sum.settle_p50.max(second.settle_p50);
    sum.settle_p99 = sum.settle_p99.max(second.settle_p99);
    sum.queue = sum.queue.max(second.queue);
    for (process, kilobytes) in &second.memory {
        let known = sum.memory.entry(process.clone()).or_default();
        *known = (*known).max(*kilobytes);
    }
}

/// Adds the numbers of tickets that were settled in each second.
pub fn merge_settled(reports: &[Report], offsets: &[Offset]) -> Vec<u64> {
    let mut sum = Vec::new();
    for (report, offset) in reports.iter().zip(offsets) {
        let shift = usize::try_from(key(offset.seconds.round())).unwrap_or_default();
        if sum.len() < report.settled_by_second.len() + shift {
            sum.resize(report.settled_by_second.len() + shift, 0);
        }
        for (second, settled) in report.settled_by_second.iter().enumerate() {
            sum[second + shift] += settled;
        }
    }
    sum
}
