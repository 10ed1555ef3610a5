//! The report as a self-contained HTML page.

use std::fmt::Write;

use anyhow::Result;

use super::Report;
use super::charts::charts;
use super::latency::shown;
use super::summary::{concerts, name};
use hamro_verification::invariant::Invariant;
use hamro_verification::processes::Cost;

const STYLE: &str = "
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
  h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
  table { border-collapse: collapse; margin-bottom: 1rem; } td, th { padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #ddd; text-align: right; }
  td:first-child, th:first-child { text-align: left; } th { font-weight: 600; }
  .verdict { padding: .8rem 1rem; border-radius: .4rem; color: #fff; font-weight: 600; margin: 1rem 0; }
  .passed { background: #1a7f4b; } .failed { background: #b3261e; } .verdict ul { margin: .3rem 0 0; font-weight: 400; }
  .broken { color: #b3261e; font-weight: 600; } .small { color: #666; font-size: .87rem; } svg { max-width: 100%; height: auto; }
  .key { display: inline-block; width: 1.2rem; height: .25rem; margin: 0 .2rem .2rem .8rem; }
";

pub fn page(report: &Report) -> Result<String> {
    let mut page = String::new();
    let title = format!("{} at {}/s", name(report.run.scenario), report.run.rate);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Load test: {title}</title>\n<style>{STYLE}</style>\n<h1>Load test: {title}</h1>\n"
    )?;
    head(&mut page, report)?;
    figures(&mut page, report)?;
    for chart in charts(report)? {
        writeln!(page, "<h2>{}</h2>\n<p class=\"small\">", chart.title)?;
        for (line, colour) in &chart.legend {
            writeln!(page, "<span class=\"key\" style=\"background: {colour}\"></span> {}", escaped(line))?;
        }
        writeln!(page, "</p>\n{}", chart.svg)?;
    }
    proof(&mut page, report)?;
    Ok(page)
}

fn head(page: &mut String, report: &Report) -> Result<()> {
    let (run, machine, verdict) = (&report.run, &report.machine, &report.verdict);
    writeln!(
        page,
        "<p class=\"small\">{} · {} · {} buyers, {} seats in {}, up to {} seats per booking, {} arrivals, {} endpoint, \
         {:.1} % of tickets followed by {} · {} × {}, {} MB</p>",
        run.started,
        escaped(&run.url),
        run.buyers,
        run.seats,
        concerts(run.concerts),
        run.group_size,
        name(run.shape),
        name(run.target),
        run.follow_share * 100.0,
        name(run.follow),
        machine.cores,
        escaped(&machine.processor),
        machine.memory_mb
    )?;
    if verdict.has_passed() {
        page.push_str("<div class=\"verdict passed\">Passed: nothing was lost or sold twice</div>\n");
    } else {
        page.push_str("<div class=\"verdict failed\">Failed<ul>");
        for reason in &verdict.reasons {
            write!(page, "<li>{}</li>", escaped(reason))?;
        }
        page.push_str("</ul></div>\n");
    }
    Ok(())
}

fn figures(page: &mut String, report: &Report) -> Result<()> {
    let rates = &report.rates;
    page.push_str("<h2>Results</h2>\n<table><tr><th><th>per second\n");
    for (name, rate) in
        [("started", rates.started), ("accepted", rates.accepted), ("settled, end to end", rates.settled)]
    {
        writeln!(page, "<tr><td>{name}<td>{rate:.0}")?;
    }
    for figure in report.baselines.iter().flat_map(|baseline| &baseline.figures) {
        let (what, limit) = (escaped(&figure.what), figure.bookings_per_second);
        writeln!(
            page,
            "<tr><td>limit: {what} (settled reached {:.2} of it)<td>{limit:.0}",
            rates.settled / limit
        )?;
    }
    writeln!(
        page,
        "</table>\n<p class=\"small\">Buyers arrived for {:.1} s; the last ticket was settled {:.1} s later. The load generator \
         used {} MB of memory.</p>",
        rates.arrivals_seconds, rates.drain_seconds, report.loader.resident_mb
    )?;
    page.push_str("<table><tr><th>CPU time<th>per request<th>of one core\n");
    for (name, cost) in report.all_costs() {
        let (name, Cost { cpu_percent, cpu_micros_a_request }) = (escaped(name), cost);
        writeln!(page, "<tr><td>{name}<td>{cpu_micros_a_request:.1} µs<td>{cpu_percent:.0} %")?;
    }
    page.push_str("</table>\n<table><tr><th><th>count<th>p50<th>p90<th>p99<th>p99.9<th>max\n");
    let latencies = &report.latencies;
    let clocks = [
        ("accept: due → response", latencies.accept.as_ref()),
        ("settle: due → outcome received", latencies.settle.as_ref()),
        ("poll: due → response", latencies.poll.as_ref()),
        ("queued: issued → settled, by the system's clock", latencies.queued.as_ref()),
        ("start lag of the load generator", Some(&latencies.lag)),
    ];
    for (name, latency) in clocks {
        let Some(latency) = latency else { continue };
        write!(page, "<tr><td>{name}<td>{}", latency.count)?;
        for micros in [latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
            write!(page, "<td>{}", shown(micros))?;
        }
        page.push('\n');
    }
    page.push_str("</table>\n<h2>Responses</h2>\n<table>\n");
    for (response, count) in &report.responses {
        writeln!(page, "<tr><td>{}<td>{count}", escaped(response))?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn proof(page: &mut String, report: &Report) -> Result<()> {
    let proof = &report.proof;
    writeln!(
        page,
        "<h2>Verification</h2>\n<p>{} requests, {} tickets: {} confirmed, {} rejected, {} expired, {} failed. {} of {} seats sold.</p>",
        proof.requests,
        proof.tickets,
        proof.confirmed,
        proof.rejected,
        proof.expired,
        proof.failed,
        proof.seats_sold,
        proof.seats
    )?;
    writeln!(
        page,
        "<p>Final statuses read again: {} from the same instance, {} from another one more than a second later.</p>",
        proof.read_again, proof.read_again_elsewhere
    )?;
    page.push_str("<table>\n");
    for rule in proof.checked() {
        let word = match proof.violations.of(rule) {
            None => "holds".to_owned(),
            Some(broken) => format!("<span class=\"broken\">violated {} times</span>", broken.count),
        };
        writeln!(page, "<tr><td>{}<td>{word}", rule.sentence())?;
    }
    page.push_str("</table>\n<ul>\n");
    for what in Invariant::ALL
        .into_iter()
        .filter_map(|rule| proof.violations.of(rule))
        .flat_map(|broken| &broken.listed)
    {
        writeln!(page, "<li class=\"broken\">{}", escaped(what))?;
    }
    for remark in &proof.remarks {
        writeln!(page, "<li>{}", escaped(remark))?;
    }
    writeln!(page, "</ul>\n<p class=\"small\">Journal: {}</p>", escaped(&report.run.journal))?;
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
