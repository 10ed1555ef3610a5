//! The metrics that thresholds refer to.

use std::fmt;
use std::str::FromStr;

use super::super::latency::shown as shown_latency;
use super::super::numbers::{grouped, per_second};
use super::Report;
use crate::report::Latency;

/// A metric of a report.
#[derive(Clone, Debug)]
pub struct Metric {
    name: String,
    kind: Kind,
}

/// How a metric is measured, and in which unit.
#[derive(Clone, Debug)]
enum Kind {
    /// In microseconds.
    Latency(LatencyName, Percentile),
    /// Per second.
    Rate(Rate),
    Count(Count),
    /// CPU time of a process, in percent of one core.
    Cpu(String),
    /// The maximum resident memory of a process, in megabytes.
    Memory(String),
}

type LatencyName = fn(&Report) -> Option<&Latency>;
type Percentile = fn(&Latency) -> u64;
type Rate = fn(&Report) -> Option<f64>;
type Count = fn(&Report) -> u64;

const LATENCIES: [(&str, LatencyName); 6] = [
    ("accept", |report| report.latencies.accept.as_ref()),
    ("settle", |report| report.latencies.settle.as_ref()),
    ("poll", |report| report.latencies.poll.as_ref()),
    ("visit", |report| report.latencies.visit.as_ref()),
    ("queued", |report| report.latencies.queued.as_ref()),
    ("lag", |report| Some(&report.latencies.lag)),
];

const PERCENTILES: [(&str, Percentile); 5] = [
    ("p50", |latency| latency.p50),
    ("p90", |latency| latency.p90),
    ("p99", |latency| latency.p99),
    ("p999", |latency| latency.p999),
    ("max", |latency| latency.max),
];

const RATES: [(&str, Rate); 4] = [
    ("started", |report| Some(report.rates.started)),
    ("accepted", |report| Some(report.rates.accepted)),
    ("visits", Report::visit_rate),
    // The earlier system does not report when tickets were settled.
    ("settled", |report| (report.counts.settled > 0).then_some(report.rates.settled)),
];

const COUNTS: [(&str, Count); 9] = [
    ("confirmed", |report| report.proof.confirmed),
    ("rejected", |report| report.proof.rejected),
    ("expired", |report| report.proof.expired),
    ("failed", |report| report.proof.failed),
    ("refused", |report| report.counts.refused),
    ("lost", |report| report.counts.lost),
    ("errors", |report| report.counts.refused + report.counts.lost),
    ("failed-visits", |report| report.visits.as_ref().map_or(0, |visits| visits.counts.failed)),
    ("violations", |report| report.violations()),
];

/// The name of this program in metrics of processes.
const LOADER: &str = "loader";

/// The metrics, for the help and for error messages.
pub const METRICS: &str = "\
accept, settle, poll, visit, queued or lag, each with .p50, .p90, .p99, .p999 or .max, in µs, ms or s; \
started, accepted, settled or visits, per second; \
the numbers confirmed, rejected, expired, failed, refused (not accepted), lost (no valid response), errors (refused or \
lost), failed-visits and violations; \
NAME.cpu in % of one core and NAME.memory in MB or GB (the maximum) of a process named by --watch, and of the loader";

impl FromStr for Metric {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let kind =
            kind(name).ok_or_else(|| format!("'{name}' is not a metric. The metrics are: {METRICS}"))?;
        Ok(Self { name: name.to_owned(), kind })
    }
}

fn kind(name: &str) -> Option<Kind> {
    if let Some((_, rate)) = RATES.into_iter().find(|(known, _)| *known == name) {
        return Some(Kind::Rate(rate));
    }
    if let Some((_, count)) = COUNTS.into_iter().find(|(known, _)| *known == name) {
        return Some(Kind::Count(count));
    }
    // The name of a process may contain dots.
    let (subject, what) = name.rsplit_once('.').filter(|(subject, _)| !subject.is_empty())?;
    match what {
        "cpu" => Some(Kind::Cpu(subject.to_owned())),
        "memory" => Some(Kind::Memory(subject.to_owned())),
        _ => {
            let (_, latency) = LATENCIES.into_iter().find(|(known, _)| *known == subject)?;
            let (_, percentile) = PERCENTILES.into_iter().find(|(known, _)| *known == what)?;
            Some(Kind::Latency(latency, percentile))
        }
    }
}

impl Metric {
    /// The process whose resources are measured, unless it is this program.
    pub fn process(&self) -> Option<&str> {
        match &self.kind {
            Kind::Cpu(process) | Kind::Memory(process) if process != LOADER => Some(process),
            _ => None,
        }
    }

    /// Whether the metric is the memory of a process.
    pub fn is_memory(&self) -> bool {
        matches!(self.kind, Kind::Memory(_))
    }

    /// The measured value in the base unit. `None` if nothing was measured.
    pub fn of(&self, report: &Report) -> Option<f64> {
        match &self.kind {
            Kind::Latency(latency, percentile) => {
                latency(report).filter(|latency| latency.count > 0).map(|latency| exact(percentile(latency)))
            }
            Kind::Rate(rate) => rate(report),
            Kind::Count(count) => Some(exact(count(report))),
            Kind::Cpu(process) if process == LOADER => Some(report.loader.cpu.cpu_percent),
            Kind::Cpu(process) => Some(report.costs.get(process)?.cpu_percent),
            Kind::Memory(process) if process == LOADER => Some(exact(report.loader.resident_mb)),
            Kind::Memory(process) => {
                let kilobytes =
                    report.timeline.iter().filter_map(|second| second.memory.get(process)).max()?;
                Some(exact(*kilobytes) / 1024.0)
            }
        }
    }

    /// Parses a value of this metric with its unit.
    pub fn parse_value(&self, text: &str) -> Result<f64, String> {
        let (units, wanted): (&[(&str, f64)], _) = match self.kind {
            Kind::Latency(..) => (
                &[("µs", 1.0), ("us", 1.0), ("ms", 1e3), ("s", 1e6)],
                "a latency: use µs, ms or s, such as 50ms",
            ),
            Kind::Rate(_) => (&[("/s", 1.0), ("", 1.0)], "a rate: use a number per second, such as 500/s"),
            Kind::Count(_) => (&[("", 1.0)], "a number: use no unit, such as 0"),
            Kind::Cpu(_) => (&[("%", 1.0)], "CPU time: use % of one core, such as 80%"),
            Kind::Memory(_) => (&[("MB", 1.0), ("GB", 1024.0)], "memory: use MB or GB, such as 100MB"),
        };
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let (number, unit) = (text[..end].parse::<f64>().ok(), text[end..].trim());
        let factor = units.iter().find(|(known, _)| *known == unit).map(|(_, factor)| factor);
        number
            .zip(factor)
            .map(|(number, factor)| number * factor)
            .ok_or_else(|| format!("{self} is {wanted}"))
    }

    /// A value with its unit.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "values are positive and small"
    )]
    pub fn shown(&self, value: f64) -> String {
        match self.kind {
            Kind::Latency(..) => shown_latency(value as u64),
            Kind::Rate(_) => per_second(value),
            Kind::Count(_) => grouped(value as u64),
            Kind::Cpu(_) => format!("{value:.0} %"),
            Kind::Memory(_) => format!("{value:.0} MB"),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[expect(clippy::cast_precision_loss, reason = "the values are small enough")]
fn exact(number: u64) -> f64 {
    number as f64
}
