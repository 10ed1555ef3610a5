//! The report of a run: text, JSON and HTML.

mod baseline;
mod build;
mod charts;
mod drift;
mod html;
mod latency;
mod progress;
mod summary;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

pub use baseline::BaselineReport;
pub(crate) use build::{Seen, build};
pub use drift::{Drift, drifts};
pub use html::page;
pub use latency::Latency;
pub use progress::Progress;
pub use summary::{proof_table, summary, table};
pub use verdict::{Ending, Evidence, Verdict, lag_limit};

use crate::metrics::Second;
use crate::scenario::Scenario;
use crate::schedule::Shape;
use hamro_verification::contract::Target;
use hamro_verification::follow::Follow;
use hamro_verification::machine::{LoaderCost, Machine};
use hamro_verification::processes::Cost;
use hamro_verification::proof::Proof;

/// The results of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub run: RunFacts,
    pub machine: Machine,
    pub rates: Rates,
    /// In microseconds.
    pub latencies: Latencies,
    #[serde(alias = "answers")]
    pub responses: BTreeMap<Box<str>, u64>,
    pub loader: LoaderCost,
    /// CPU time of the named processes. Empty in reports of older versions.
    #[serde(default)]
    pub costs: BTreeMap<String, Cost>,
    pub timeline: Vec<Second>,
    /// Tickets settled in each second from the start, by the system's clock. Includes tickets that were not followed.
    pub ended: Vec<u64>,
    pub drifts: Vec<Drift>,
    #[serde(alias = "ceilings")]
    pub baselines: Vec<BaselineReport>,
    pub proof: Proof,
    pub verdict: Verdict,
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
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    pub lag: Latency,
    pub accept: Option<Latency>,
    pub settle: Option<Latency>,
    pub poll: Option<Latency>,
    /// From the issue of a ticket until it was settled, by the system's clock, rounded up to milliseconds. All tickets.
    pub queued: Option<Latency>,
}

impl Report {
    pub fn read(path: &Path) -> Result<Self> {
        let json = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&json).with_context(|| format!("{} is not a report of a run", path.display()))
    }

    /// CPU time of the named processes and of the load generator.
    pub fn all_costs(&self) -> impl Iterator<Item = (&str, &Cost)> {
        let named = self.costs.iter().map(|(name, cost)| (name.as_str(), cost));
        named.chain([("load generator", &self.loader.cpu)])
    }

    pub fn write_json(&self, path: &Path) -> Result<()> {
        write(path, serde_json::to_vec_pretty(self)?)
    }

    pub fn write_html(&self, path: &Path) -> Result<()> {
        write(path, page(self)?.into_bytes())
    }
}

pub fn write(path: &Path, content: Vec<u8>) -> Result<()> {
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}

#[expect(clippy::print_stdout, reason = "this is the program's output")]
pub fn say(text: impl std::fmt::Display) {
    println!("{text}");
}
