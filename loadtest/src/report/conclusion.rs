//! The sentences with which every report begins: what was asked, what was reached, and what limited it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::baseline::comparisons;
use super::latency::shown;
use super::limit::{self, Limit};
use super::numbers::{counted, grouped, per_second, seconds};
use super::{Latency, Report};
use crate::schedule::Shape;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conclusion {
    pub asked: String,
    pub reached: String,
    pub limited: String,
    pub limit: Limit,
    /// Comparisons with the services alone, where they say something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<String>,
}

impl Conclusion {
    pub fn of(report: &Report) -> Self {
        let (limit, limited) = limit::find(report);
        Self {
            asked: asked(report),
            reached: reached(report),
            limited,
            limit,
            comparisons: comparisons(report, limit),
        }
    }

    pub fn sentences(&self) -> impl Iterator<Item = &str> {
        let three = [&self.asked, &self.reached, &self.limited];
        three.into_iter().chain(&self.comparisons).map(String::as_str)
    }
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.sentences().collect::<Vec<_>>().join("\n"))
    }
}

/// For example: Asked: `rush` at 500/s, arriving independently, for 20 s; 10 000 buyers, each of whom books …
#[expect(clippy::cast_precision_loss, reason = "no run has 2^52 buyers")]
fn asked(report: &Report) -> String {
    let run = &report.run;
    let rate = per_second(run.rate);
    let arrivals = match run.shape {
        Shape::Constant => format!("{rate}, evenly spaced,"),
        Shape::Poisson => format!("{rate}, arriving independently,"),
        Shape::Ramp => format!("a rate that rises from 0 to {rate},"),
        Shape::Spike => format!("a tenth of {rate} with a spike of {rate}"),
    };
    let planned = run.buyers as f64 / (run.rate * run.shape.mean());
    let from = match report.loaders.len() {
        0 | 1 => String::new(),
        several => format!(" from {several} load generators"),
    };
    let visits = report.visits.as_ref().map(|visits| format!("; {}", visits.intent())).unwrap_or_default();
    format!(
        "Asked: {} at {arrivals} for {}{from}; {}, {}{visits}; {} in {}.",
        run.scenario.name(),
        seconds(planned),
        counted(run.buyers, "buyer", "buyers"),
        run.scenario.intent(run.group_size),
        counted(run.seats as u64, "free seat", "free seats"),
        counted(run.concerts as u64, "concert", "concerts"),
    )
}

fn reached(report: &Report) -> String {
    let (counts, rates, latencies, proof) = (&report.counts, &report.rates, &report.latencies, &report.proof);
    let mut parts = Vec::new();
    if let Some((rate, visits)) = report.visit_rate().zip(report.visits.as_ref()) {
        let requests = super::per_second(visits.counts.requests, rates.arrivals_seconds);
        parts.push(format!(
            "{} visits{} by {} requests",
            per_second(rate),
            p50_p99(latencies.visit.as_ref()),
            per_second(requests)
        ));
    }
    parts.push(format!("{} accepted{}", per_second(rates.accepted), p50_p99(latencies.accept.as_ref())));
    if counts.settled > 0 {
        parts.push(format!("{} settled{}", per_second(rates.settled), p50_p99(latencies.settle.as_ref())));
    }
    if let Some(poll) = &latencies.poll {
        let rate = super::per_second(counts.polls, rates.arrivals_seconds);
        parts.push(format!("{} status polls{}", per_second(rate), p50_p99(Some(poll))));
    }
    let mut results = vec![format!(
        "{} of {} sold, {} rejected",
        grouped(proof.seats_sold),
        counted(report.run.seats as u64, "seat", "seats"),
        counted(proof.rejected, "booking", "bookings")
    )];
    for (count, what) in [
        (proof.expired, "expired"),
        (proof.failed, "failed"),
        (counts.refused, "not accepted"),
        (counts.lost, "without a response"),
    ] {
        if count > 0 {
            results.push(format!("{} {what}", grouped(count)));
        }
    }
    format!("Reached: {}; {}.", parts.join(", "), results.join(", "))
}

fn p50_p99(latency: Option<&Latency>) -> String {
    latency.map_or_else(String::new, |latency| {
        format!(" (p50 {}, p99 {})", shown(latency.p50), shown(latency.p99))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example::report;
    use crate::scenario::Scenario;

    #[test]
    fn a_report_begins_with_what_was_asked_what_was_reached_and_what_limited_it() {
        let sentences = Conclusion::of(&report()).to_string();
        assert_eq!(
            sentences,
            "Asked: rush at 500/s, arriving independently, for 20 s; 10 000 buyers, each of whom wants 1 to 4 \
             neighbouring seats; 300 free seats in 1 concert.\n\
             Reached: 500/s accepted (p50 8.00 ms, p99 8.00 ms), 498/s settled (p50 20.0 ms, p99 20.0 ms); 250 of 300 \
             seats sold, 9 890 bookings rejected.\n\
             Limited only by the schedule: the target kept up. Of the watched processes, api used the most CPU time: \
             40 % of one core."
        );
    }

    #[test]
    fn what_did_not_go_well_is_counted_and_what_was_not_measured_is_left_out() {
        let mut report = report();
        report.counts.settled = 0;
        (report.counts.refused, report.counts.lost, report.proof.expired) = (12, 3, 1);
        report.latencies.accept = None;
        let reached = Conclusion::of(&report).reached;
        assert!(reached.starts_with("Reached: 500/s accepted; "), "{reached}");
        assert!(reached.ends_with(", 1 expired, 12 not accepted, 3 without a response."), "{reached}");
    }

    #[test]
    fn polls_and_several_load_generators_are_said() {
        let mut report = report();
        report.run.scenario = Scenario::Polls;
        report.counts.polls = 9_900;
        report.latencies.poll = report.latencies.accept.clone();
        report.loaders.push(report.loaders[0].clone());
        let conclusion = Conclusion::of(&report);
        assert!(conclusion.asked.contains("for 20 s from 2 load generators"), "{}", conclusion.asked);
        assert!(conclusion.reached.contains("495/s status polls (p50 8.00 ms"), "{}", conclusion.reached);
    }
}
