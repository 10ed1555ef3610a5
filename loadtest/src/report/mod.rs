//! The report of a run: text, JSON and HTML.

mod baseline;
mod build;
mod charts;
mod conclusion;
mod costs;
mod drift;
#[cfg(test)]
mod example;
mod html;
mod latency;
mod limit;
mod loader;
mod merge;
mod numbers;
mod progress;
mod summary;
mod threshold;
mod verdict;
mod visits;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use baseline::BaselineReport;
pub(crate) use build::{LoadPhaseResult, build};
pub use conclusion::Conclusion;
pub use drift::{Drift, drifts};
pub use html::page;
pub use latency::Latency;
pub use loader::{BookedConcert, Loader};
pub use merge::merge;
pub use numbers::counted;
pub use progress::Progress;
pub use summary::{proof_table, summary, table};
pub use threshold::{METRICS, Threshold, ThresholdResult};
pub use verdict::{Ending, Evidence, Verdict, lag_limit};
pub use visits::VisitReport;

use crate::metrics::Second;
use crate::scenario::Scenario;
use crate::schedule::Shape;
use hamro_verification::contract::Target;
use hamro_verification::follow::Follow;
use hamro_verification::invariant::Invariant;
use hamro_verification::machine::{LoaderCost, Machine};
use hamro_verification::processes::Cost;
use hamro_verification::proof::Proof;

/// The results of a run, or of several load generators together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `None` in reports of older versions.
    #[serde(default)]
    pub conclusion: Option<Conclusion>,
    pub verdict: Verdict,
    #[serde(default)]
    pub thresholds: Vec<ThresholdResult>,
    pub run: RunFacts,
    /// Empty in reports of older versions.
    #[serde(default)]
    pub loaders: Vec<Loader>,
    pub machine: Machine,
    #[serde(default)]
    pub counts: Counts,
    /// Visits of the page, in the scenario `opening`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visits: Option<VisitReport>,
    pub rates: Rates,
    /// In microseconds.
    pub latencies: Latencies,
    #[serde(alias = "answers")]
    pub responses: BTreeMap<Box<str>, u64>,
    /// The resources of all load generators.
    pub loader: LoaderCost,
    /// CPU time of the named processes. Empty in reports of older versions.
    #[serde(default)]
    pub costs: BTreeMap<String, Cost>,
    /// CPU time of the named processes before the first buyer arrived, in percent of one core. Empty if it was not
    /// measured.
    #[serde(default)]
    pub idle: BTreeMap<String, f64>,
    pub timeline: Vec<Second>,
    /// Tickets settled in each second from the start, by the system's clock. Includes tickets that were not followed.
    #[serde(alias = "ended")]
    pub settled_by_second: Vec<u64>,
    pub drifts: Vec<Drift>,
    #[serde(alias = "ceilings")]
    pub baselines: Vec<BaselineReport>,
    pub proof: Proof,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    pub name: String,
    /// RFC 3339.
    pub started: String,
    pub version: String,
    pub scenario: Scenario,
    pub target: Target,
    pub url: String,
    pub shape: Shape,
    pub rate: f64,
    pub buyers: u64,
    /// The seats that were free before the run.
    pub seats: usize,
    pub concerts: usize,
    #[serde(alias = "party")]
    pub group_size: usize,
    pub keys: bool,
    pub follow: Follow,
    pub follow_share: f64,
    pub seed: u64,
    pub journal: String,
}

/// Numbers of requests. They are 0 in reports of older versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub started: u64,
    pub accepted: u64,
    /// Bookings that the target did not accept, such as `queue-full`.
    pub refused: u64,
    /// Requests without a valid response.
    pub lost: u64,
    /// Status polls that are part of the load.
    pub polls: u64,
    /// Tickets that were settled, with the time.
    pub settled: u64,
}

/// Average rates per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// How long buyers arrived, in seconds.
    pub arrivals_seconds: f64,
    /// Requests started in that time.
    #[serde(alias = "begun")]
    pub started: f64,
    pub accepted: f64,
    /// Tickets settled, from the first arrival until the last settlement.
    pub settled: f64,
    /// From the last arrival until the last settlement, in seconds.
    pub drain_seconds: f64,
    /// From the first arrival until the last settlement, in seconds. 0 in reports of older versions.
    #[serde(default)]
    pub last_settled_seconds: f64,
    /// From the first arrival until the last sale, in seconds. `None` if nothing was sold.
    #[serde(default)]
    pub last_sale_seconds: Option<f64>,
}

impl Rates {
    /// The times of the last settlement and of the last sale are in seconds from the first arrival.
    pub fn of(counts: &Counts, arrivals_seconds: f64, last_settled: f64, last_sale: Option<f64>) -> Self {
        Self {
            arrivals_seconds,
            started: per_second(counts.started, arrivals_seconds),
            accepted: per_second(counts.accepted, arrivals_seconds),
            settled: per_second(counts.settled, last_settled),
            drain_seconds: (last_settled - arrivals_seconds).max(0.0),
            last_settled_seconds: last_settled,
            last_sale_seconds: last_sale,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    pub lag: Latency,
    pub accept: Option<Latency>,
    pub settle: Option<Latency>,
    pub poll: Option<Latency>,
    /// Of all requests of a page together, in the scenario `opening`.
    #[serde(default)]
    pub visit: Option<Latency>,
    /// From the issue of a ticket until it was settled, by the system's clock, rounded up to milliseconds. All tickets.
    pub queued: Option<Latency>,
}

impl Latencies {
    /// The measured latencies, each with a description.
    pub fn described(&self) -> impl Iterator<Item = (&'static str, &Latency)> {
        let all = [
            ("accept: due → response", self.accept.as_ref()),
            ("settle: due → outcome received", self.settle.as_ref()),
            ("poll: due → response", self.poll.as_ref()),
            ("visit: due → page loaded", self.visit.as_ref()),
            ("queued: issued → settled, by the system's clock", self.queued.as_ref()),
            ("start lag of the load generator", Some(&self.lag)),
        ];
        all.into_iter().filter_map(|(name, latency)| Some((name, latency?)))
    }
}

impl Report {
    pub fn read(path: &Path) -> Result<Self> {
        let json = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&json).with_context(|| format!("{} is not a report of a run", path.display()))
    }

    /// Adds what follows from the measurements: the conclusion and the thresholds, which are part of the verdict.
    #[must_use]
    pub fn concluded(mut self, thresholds: &[Threshold]) -> Self {
        self.conclusion = Some(Conclusion::of(&self));
        self.thresholds = thresholds.iter().map(|threshold| threshold.check(&self)).collect();
        let failed = self.thresholds.iter().filter(|threshold| threshold.has_failed);
        self.verdict.reasons.extend(failed.map(|threshold| {
            format!("a threshold was crossed: {} ({})", threshold.fail_if, threshold.measured())
        }));
        self
    }

    /// CPU time of the named processes and of the load generator.
    pub fn all_costs(&self) -> impl Iterator<Item = (&str, &Cost)> {
        let named = self.costs.iter().map(|(name, cost)| (name.as_str(), cost));
        named.chain([("load generator", &self.loader.cpu)])
    }

    /// The number of violations of all rules.
    pub fn violations(&self) -> u64 {
        let of_rule = |rule| self.proof.violations.of(rule).map_or(0, |broken| broken.count);
        Invariant::ALL.into_iter().map(of_rule).sum()
    }

    pub fn write_json(&self, path: &Path) -> Result<()> {
        write(path, serde_json::to_vec_pretty(self)?)
    }

    pub fn write_html(&self, path: &Path) -> Result<()> {
        write(path, page(self)?.into_bytes())
    }
}

#[expect(clippy::cast_precision_loss, reason = "the result is displayed")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(1e-3)
}

pub fn write(path: &Path, content: Vec<u8>) -> Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}

/// Prints a part of the program's output.
pub fn print(text: impl std::fmt::Display) -> Result<()> {
    hamro_shared::output::print(&text.to_string())
}
