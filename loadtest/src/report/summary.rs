//! The text summary at the end of a run.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, Table};

use super::latency::{Latency, shown};
use super::{Report, Verdict};
use hamro_verification::processes::Cost;
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
        run_line(report),
        rates(report),
        latencies(report),
        costs(report),
        responses(report),
        drifts(report),
        proof_table(&report.proof),
    ];
    let mut parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.push(verdict(&report.verdict));
    parts.join("\n\n")
}

fn run_line(report: &Report) -> String {
    let (run, machine) = (&report.run, &report.machine);
    format!(
        "{} ({}), {} buyers at up to {}/s, {} seats in {}, {} at {}\n{} × {}, {} MB",
        name(run.scenario),
        name(run.target),
        run.buyers,
        run.rate,
        run.seats,
        concerts(run.concerts),
        run.started,
        run.url,
        machine.cores,
        machine.processor,
        machine.memory_mb
    )
}

pub(super) fn concerts(count: usize) -> String {
    format!("{count} {}", if count == 1 { "concert" } else { "concerts" })
}

/// The name of a value on the command line.
pub(super) fn name(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn rates(report: &Report) -> String {
    let rates = &report.rates;
    let mut rows = vec![
        ["requests started".to_owned(), format!("{:.0}/s", rates.started)],
        ["accepted".to_owned(), format!("{:.0}/s", rates.accepted)],
        ["settled, end to end".to_owned(), format!("{:.0}/s", rates.settled)],
        ["drain time after the last arrival".to_owned(), format!("{:.1} s", rates.drain_seconds)],
    ];
    for baseline in &report.baselines {
        for figure in &baseline.figures {
            let share = rates.settled / figure.bookings_per_second;
            rows.push([format!("settled / limit: {}", figure.what), format!("{share:.2}")]);
        }
    }
    rows.push(["memory of the load generator".to_owned(), format!("{} MB", report.loader.resident_mb)]);
    table(["rates", ""], rows)
}

/// CPU time per request and process.
fn costs(report: &Report) -> String {
    let rows = report.all_costs().map(|(name, cost)| {
        let Cost { cpu_percent, cpu_micros_a_request } = cost;
        [name.to_owned(), format!("{cpu_micros_a_request:.1} µs"), format!("{cpu_percent:.0} %")]
    });
    table(["CPU time", "per request", "of one core"], rows)
}

fn latencies(report: &Report) -> String {
    let latencies = &report.latencies;
    let named: [(&str, Option<&Latency>); 5] = [
        ("accept: due → response", latencies.accept.as_ref()),
        ("settle: due → outcome received", latencies.settle.as_ref()),
        ("poll: due → response", latencies.poll.as_ref()),
        ("queued: issued → settled, by the system's clock", latencies.queued.as_ref()),
        ("start lag of the load generator", Some(&latencies.lag)),
    ];
    let rows = named.into_iter().filter_map(|(name, latency)| {
        let latency = latency?;
        let [p50, p90, p99, p999, max] =
            [latency.p50, latency.p90, latency.p99, latency.p999, latency.max].map(shown);
        Some([name.to_owned(), latency.count.to_string(), p50, p90, p99, p999, max])
    });
    table(["", "count", "p50", "p90", "p99", "p99.9", "max"], rows)
}

fn responses(report: &Report) -> String {
    table(
        ["responses", ""],
        report.responses.iter().map(|(name, count)| [name.to_string(), count.to_string()]),
    )
}

fn drifts(report: &Report) -> String {
    if report.drifts.is_empty() {
        return String::new();
    }
    let rows = report.drifts.iter().map(|drift| {
        let figure = |figure: u64| {
            if drift.what.starts_with("memory") { format!("{} MB", figure / 1024) } else { shown(figure) }
        };
        let word = if drift.has_drifted { "drifted" } else { "stable" };
        [drift.what.clone(), figure(drift.first), figure(drift.last), word.to_owned()]
    });
    table(["median per second", "first quarter", "last quarter", ""], rows)
}

pub fn proof_table(proof: &Proof) -> String {
    let mut lines = vec![format!(
        "{} requests, {} tickets: {} confirmed, {} rejected, {} expired, {} failed; {} of {} seats sold",
        proof.requests,
        proof.tickets,
        proof.confirmed,
        proof.rejected,
        proof.expired,
        proof.failed,
        proof.seats_sold,
        proof.seats
    )];
    lines.push(format!(
        "Final statuses read again: {} from the same instance, {} from another one more than a second later",
        proof.read_again, proof.read_again_elsewhere
    ));
    let rows = proof.checked().map(|rule| {
        let word = match proof.violations.of(rule) {
            None => "holds".to_owned(),
            Some(broken) => format!("VIOLATED {} times", broken.count),
        };
        [rule.sentence().to_owned(), word]
    });
    lines.push(table(["verification", ""], rows));
    for rule in proof.checked() {
        let Some(broken) = proof.violations.of(rule) else { continue };
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

pub(super) fn verdict(verdict: &Verdict) -> String {
    if verdict.has_passed() {
        return "PASSED: nothing was lost or sold twice".to_owned();
    }
    let reasons = verdict.reasons.iter().map(|reason| format!("  - {reason}"));
    ["FAILED".to_owned()].into_iter().chain(reasons).collect::<Vec<_>>().join("\n")
}
