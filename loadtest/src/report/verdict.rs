//! Decides whether a run has passed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Drift, Latencies};
use crate::scenario::Scenario;
use crate::visits::VisitTotals;
use hamro_verification::proof::Proof;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Why the run has failed. Empty if it has passed.
    pub reasons: Vec<String>,
    pub was_interrupted: bool,
    #[serde(default)]
    pub target_stopped: bool,
}

/// How the arrivals ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All buyers arrived.
    Complete,
    Interrupted,
    TargetStopped,
}

/// The data that the verdict is based on.
pub struct Evidence<'a> {
    pub scenario: Scenario,
    /// Visits of the page, in the scenario `opening`.
    pub visits: Option<&'a VisitTotals>,
    /// Whether a buyer was to book.
    pub expects_bookings: bool,
    pub ending: Ending,
    pub proof: &'a Proof,
    pub latencies: &'a Latencies,
    pub drifts: &'a [Drift],
    /// The maximum p99 of the start lag.
    pub lag_limit: Duration,
    /// The number of requests that waited for a connection.
    pub waited: u64,
    pub in_flight_max: usize,
}

/// A start lag up to this is always allowed.
const LAG_ALLOWED: Duration = Duration::from_millis(5);
/// The measured latency includes the start lag, which may be at most one part in this many.
const LAG_SHARE: u64 = 10;

/// The default limit for the start lag of this program.
pub fn lag_limit(latencies: &Latencies) -> Duration {
    let measured = [&latencies.accept, &latencies.poll, &latencies.visit]
        .into_iter()
        .flatten()
        .next()
        .map_or(0, |latency| latency.p99);
    LAG_ALLOWED.max(Duration::from_micros(measured / LAG_SHARE))
}

impl Verdict {
    pub fn has_passed(&self) -> bool {
        self.reasons.is_empty()
    }

    pub fn of(evidence: &Evidence) -> Self {
        let mut reasons = Vec::new();
        if !evidence.proof.violations.is_empty() {
            reasons.push("rules were violated: see the verification".to_owned());
        }
        match evidence.ending {
            Ending::Complete => {}
            Ending::Interrupted => {
                reasons.push("the run was interrupted; the results cover the requests until then".to_owned());
            }
            Ending::TargetStopped => {
                reasons
                    .push("the target stopped responding; accepted tickets were still followed".to_owned());
            }
        }
        if evidence.expects_bookings && evidence.latencies.accept.is_none() {
            reasons.push("no booking was accepted".to_owned());
        }
        reasons.extend(evidence.visits.into_iter().flat_map(wrong_visits));
        reasons.extend(evidence.invalid_measurement());
        if evidence.scenario == Scenario::Soak {
            let drifted = evidence.drifts.iter().filter(|drift| drift.has_drifted);
            reasons.extend(drifted.map(|drift| format!("{} has drifted", drift.what)));
        }
        Self {
            reasons,
            was_interrupted: evidence.ending == Ending::Interrupted,
            target_stopped: evidence.ending == Ending::TargetStopped,
        }
    }
}

/// What visits of the page say against the target.
fn wrong_visits(visits: &VisitTotals) -> Vec<String> {
    let mut reasons = Vec::new();
    if visits.counts.complete == 0 {
        reasons.push("no visit of the page was complete".to_owned());
    }
    if visits.corrupt > 0 {
        reasons.push(format!("{} different bodies could not be decompressed", visits.corrupt));
    }
    reasons
}

impl Evidence<'_> {
    /// Reasons why the measurement is invalid: it would describe this program rather than the system.
    fn invalid_measurement(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let lag = Duration::from_micros(self.latencies.lag.p99);
        if lag > self.lag_limit {
            reasons.push(format!(
                "the measurement is invalid: this program could not sustain the rate; 1 % of requests started more than \
                 {lag:.1?} late (limit {:.1?})",
                self.lag_limit
            ));
        }
        if self.waited > 0 {
            reasons.push(format!(
                "the measurement is invalid: {} requests waited for one of the {} connections (--in-flight-max)",
                self.waited, self.in_flight_max
            ));
        }
        reasons
    }
}
