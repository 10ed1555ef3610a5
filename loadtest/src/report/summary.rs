//! The text report at the end of a run.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};

use super::costs::cost_table;
use super::latency::shown;
use super::numbers::{counted, grouped, per_second};
use super::visits::visit_table;
use super::{Report, Verdict};
use hamro_verification::invariant::{Broken, Invariant};
use hamro_verification::machine::Machine;
use hamro_verification::proof::Proof;

/// A table with numbers in all columns but the first.
pub fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

pub fn summary(report: &Report) -> String {
    let parts = [
        report.conclusion.as_ref().map(ToString::to_string).unwrap_or_default(),
        loaders(report),
        latencies(report),
        visit_table(report),
        rates(report),
        cost_table(report),
        responses(report),
        drifts(report),
        proof_table(&report.proof),
        thresholds(report),
    ];
    let mut parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.push(verdict(&report.verdict));
    parts.join("\n\n")
}

/// The target and the machines.
fn loaders(report: &Report) -> String {
    let run = &report.run;
    let mut lines = vec![format!("{} endpoint of {}, started at {}", name(run.target), run.url, run.started)];
    for loader in &report.loaders {
        let Machine { cores, processor, memory_mb } = &loader.machine;
        lines.push(format!("load generator {}: {cores} × {processor}, {memory_mb} MB", loader.run));
    }
    lines.join("\n")
}

/// The name of a value on the command line.
pub(super) fn name(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn rates(report: &Report) -> String {
    let rates = &report.rates;
    let rows = [
        ("requests started", per_second(rates.started)),
        ("accepted", per_second(rates.accepted)),
        ("settled, end to end", per_second(rates.settled)),
        ("drain time after the last arrival", format!("{:.1} s", rates.drain_seconds)),
        ("memory of the load generator", format!("{} MB", report.loader.resident_mb)),
    ];
    table(["rates", ""], rows.map(|(name, value)| [name.to_owned(), value]))
}

fn thresholds(report: &Report) -> String {
    if report.thresholds.is_empty() {
        return String::new();
    }
    let rows = report.thresholds.iter().map(|threshold| {
        [threshold.fail_if.clone(), threshold.measured().to_owned(), threshold.word().to_owned()]
    });
    table(["fail if", "measured", "threshold"], rows)
}

fn latencies(report: &Report) -> String {
    let rows = report.latencies.described().map(|(name, latency)| {
        let [p50, p90, p99, p999, max] = latency.percentiles().map(shown);
        [name.to_owned(), grouped(latency.count), p50, p90, p99, p999, max]
    });
    table(["", "count", "p50", "p90", "p99", "p99.9", "max"], rows)
}

fn responses(report: &Report) -> String {
    table(["responses", ""], report.responses.iter().map(|(name, count)| [name.to_string(), grouped(*count)]))
}

fn drifts(report: &Report) -> String {
    if report.drifts.is_empty() {
        return String::new();
    }
    let rows = report.drifts.iter().map(|drift| {
        let value = |value: u64| {
            if drift.what.starts_with("memory") { format!("{} MB", value / 1024) } else { shown(value) }
        };
        let word = if drift.has_drifted { "drifted" } else { "stable" };
        [drift.what.clone(), value(drift.first), value(drift.last), word.to_owned()]
    });
    table(["median per second", "first quarter", "last quarter", ""], rows)
}

/// What was verified, in sentences.
pub(super) fn proof_sentences(proof: &Proof) -> [String; 2] {
    let tickets = format!(
        "{}, {}: {} confirmed, {} rejected, {} expired, {} failed; {} of {} sold",
        counted(proof.requests, "request", "requests"),
        counted(proof.tickets, "ticket", "tickets"),
        grouped(proof.confirmed),
        grouped(proof.rejected),
        grouped(proof.expired),
        grouped(proof.failed),
        grouped(proof.seats_sold),
        counted(proof.seats, "seat", "seats")
    );
    let read_again = format!(
        "Final statuses read again: {} from the same instance, {} from another one more than a second later",
        grouped(proof.read_again),
        grouped(proof.read_again_elsewhere)
    );
    [tickets, read_again]
}

/// The rules that were checked, with their violations.
pub(super) fn rules(proof: &Proof) -> Vec<(Invariant, Option<&Broken>)> {
    proof.checked().map(|rule| (rule, proof.violations.of(rule))).collect()
}

pub fn proof_table(proof: &Proof) -> String {
    let mut lines = Vec::from(proof_sentences(proof));
    let rows = rules(proof).into_iter().map(|(rule, broken)| {
        let word = match broken {
            None => "holds".to_owned(),
            Some(broken) => format!("VIOLATED {} times", broken.count),
        };
        [rule.sentence().to_owned(), word]
    });
    lines.push(table(["verification", ""], rows));
    for (rule, broken) in rules(proof) {
        let Some(broken) = broken else { continue };
        lines.push(format!("Violated: {}", rule.sentence()));
        lines.extend(broken.listed.iter().map(|what| format!("  {what}")));
        let more = broken.count.saturating_sub(broken.listed.len() as u64);
        if more > 0 {
            lines.push(format!("  and {more} more"));
        }
    }
    lines.extend(proof.remarks.iter().map(|remark| format!("Note: {remark}")));
    lines.join("\n")
}

fn verdict(verdict: &Verdict) -> String {
    if verdict.has_passed() {
        return "PASSED: nothing was lost or sold twice".to_owned();
    }
    let reasons = verdict.reasons.iter().map(|reason| format!("  - {reason}"));
    ["FAILED".to_owned()].into_iter().chain(reasons).collect::<Vec<_>>().join("\n")
}
