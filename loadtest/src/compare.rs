//! Compares two runs.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::report::{Latency, Report, print, table};
use hamro_verification::processes::Cost;

pub fn compare(a: &Path, b: &Path) -> Result<ExitCode> {
    let (first, second) = (Report::read(a)?, Report::read(b)?);
    for (name, report) in [("A", &first), ("B", &second)] {
        let run = &report.run;
        let word = if report.verdict.has_passed() { "passed" } else { "FAILED" };
        print(format!(
            "{name}: {} {} at {}/s on {}, {}, {word}",
            run.started,
            run.scenario.name(),
            run.rate,
            run.url,
            report.machine.processor
        ))?;
    }
    if first.machine != second.machine {
        print("Note: the runs were measured on different machines")?;
    }
    print(table(["", "A", "B", "B / A"], rows(&first, &second)))?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::cast_precision_loss, reason = "the values are displayed")]
fn rows(a: &Report, b: &Report) -> Vec<[String; 4]> {
    let mut rows = Vec::new();
    let mut row = |name: &str, a: Option<f64>, b: Option<f64>, unit: &str| {
        let (Some(a), Some(b)) = (a, b) else { return };
        let ratio = if a > 0.0 { format!("{:.2}", b / a) } else { "–".to_owned() };
        rows.push([name.to_owned(), shown(a, unit), shown(b, unit), ratio]);
    };
    let rates = |report: &Report| {
        let rates = &report.rates;
        [rates.started, rates.accepted, rates.settled, rates.drain_seconds].map(Some)
    };
    let (of_a, of_b) = (rates(a), rates(b));
    let names = ["started", "accepted", "settled", "drain time"];
    let units = ["/s", "/s", "/s", " s"];
    for number in 0..names.len() {
        row(names[number], of_a[number], of_b[number], units[number]);
    }
    for (process, cost) in a.all_costs() {
        let of_b = b.all_costs().find(|(name, _)| *name == process);
        let micros = |cost: &Cost| Some(cost.cpu_micros_a_request);
        row(
            &format!("{process}, CPU per request"),
            micros(cost),
            of_b.and_then(|(_, cost)| micros(cost)),
            " µs",
        );
    }
    for (name, latency) in LATENCIES {
        for (percentile, value) in PERCENTILES {
            let millis = |report| latency(report).map(|latency| value(latency) as f64 / 1e3);
            row(&format!("{name} {percentile}"), millis(a), millis(b), " ms");
        }
    }
    rows
}

type LatencyOf = fn(&Report) -> Option<&Latency>;
type Percentile = fn(&Latency) -> u64;

const LATENCIES: [(&str, LatencyOf); 5] = [
    ("accept", |report| report.latencies.accept.as_ref()),
    ("settle", |report| report.latencies.settle.as_ref()),
    ("poll", |report| report.latencies.poll.as_ref()),
    ("visit", |report| report.latencies.visit.as_ref()),
    ("queued", |report| report.latencies.queued.as_ref()),
];

const PERCENTILES: [(&str, Percentile); 3] =
    [("p50", |latency| latency.p50), ("p99", |latency| latency.p99), ("p99.9", |latency| latency.p999)];

fn shown(value: f64, unit: &str) -> String {
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$}{unit}")
}
