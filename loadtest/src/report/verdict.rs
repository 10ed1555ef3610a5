//! Whether a run has passed, and if not, why.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Drift, Latencies};
use crate::proof::Proof;
use crate::scenario::Scenario;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Why it has not passed. Nothing, if it has.
    pub reasons: Vec<String>,
    pub was_interrupted: bool,
}

/// How the arrivals came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All had arrived.
    Whole,
    Interrupted,
    /// The target answered nothing any more.
    Silent,
}

/// What the verdict rests on.
pub struct Evidence<'a> {
    pub scenario: Scenario,
    pub ending: Ending,
    pub proof: &'a Proof,
    pub latencies: &'a Latencies,
    pub drifts: &'a [Drift],
    /// The most that 99 % of arrivals may have been late.
    pub lag_limit: Duration,
    /// Requests that found all connections in use.
    pub waited: u64,
    pub in_flight_max: usize,
}

/// So much lag is always allowed.
const LAG_ALLOWED: Duration = Duration::from_millis(5);
/// Lag is a part of what is measured; it may be this share of it.
const LAG_SHARE: u64 = 10;

/// What this program may be late itself, where nothing else is said.
pub fn lag_limit(latencies: &Latencies) -> Duration {
    let measured = latencies.accept.as_ref().or(latencies.poll.as_ref()).map_or(0, |latency| latency.p99);
    LAG_ALLOWED.max(Duration::from_micros(measured / LAG_SHARE))
}

impl Verdict {
    pub fn has_passed(&self) -> bool {
        self.reasons.is_empty()
    }

    pub fn of(evidence: &Evidence) -> Self {
        let mut reasons = Vec::new();
        if !evidence.proof.violations.is_empty() {
            reasons.push("what must hold does not: see the proof".to_owned());
        }
        match evidence.ending {
            Ending::Whole => {}
            Ending::Interrupted => {
                reasons.push("it was interrupted; the rest holds for what was done".to_owned());
            }
            Ending::Silent => {
                reasons.push("the target stopped answering; what was accepted was followed".to_owned());
            }
        }
        if evidence.latencies.accept.is_none() {
            reasons.push("no booking was taken".to_owned());
        }
        reasons.extend(evidence.spoiled());
        if evidence.scenario == Scenario::Soak {
            let drifted = evidence.drifts.iter().filter(|drift| drift.has_drifted);
            reasons.extend(drifted.map(|drift| format!("{} has drifted", drift.what)));
        }
        Self { reasons, was_interrupted: evidence.ending == Ending::Interrupted }
    }
}

impl Evidence<'_> {
    /// Why the figures say something of this program rather than of the system.
    fn spoiled(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let lag = Duration::from_micros(self.latencies.lag.p99);
        if lag > self.lag_limit {
            reasons.push(format!(
                "the measurement is spoiled: this program could not offer the rate here; 1 % of arrivals began more than \
                 {lag:.1?} late, and {:.1?} is allowed",
                self.lag_limit
            ));
        }
        if self.waited > 0 {
            reasons.push(format!(
                "the measurement is spoiled: {} requests waited for one of the {} connections (--in-flight-max)",
                self.waited, self.in_flight_max
            ));
        }
        reasons
    }
}
