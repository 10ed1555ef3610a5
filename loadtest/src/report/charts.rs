//! The charts of a report, as SVG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::Report;
use super::latency::shown;
use crate::metrics::Second;

const SIZE: (u32, u32) = (900, 320);
/// A palette for colour-blind readers too (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 86, 86),
];

/// A chart with its title and legend.
pub struct Chart {
    pub title: &'static str,
    /// The name and the CSS colour of each line.
    pub legend: Vec<(String, String)>,
    pub svg: String,
}

struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// How an axis is labelled.
#[derive(Clone, Copy)]
struct Axis {
    name: &'static str,
    shown: fn(f64) -> String,
    /// The number of labels up to this value.
    labels: fn(f64) -> usize,
}

const SECONDS: Axis = Axis { name: "seconds from the first arrival", shown: plain, labels: some };
/// Decades of milliseconds.
const LATENCY: Axis = Axis { name: "latency", shown: power, labels: some };
/// Nines: 90 %, 99 %, 99.9 %, …
const NINES: Axis = Axis { name: "percentile", shown: share, labels: one_each };

fn some(_: f64) -> usize {
    11
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value is small")]
fn one_each(value: f64) -> usize {
    value as usize + 1
}

fn legend(lines: &[Line]) -> Vec<(String, String)> {
    let css = |RGBColor(red, green, blue): &RGBColor| format!("rgb({red} {green} {blue})");
    lines.iter().zip(COLOURS.iter().cycle()).map(|(line, colour)| (line.name.clone(), css(colour))).collect()
}

fn plain(value: f64) -> String {
    format!("{value:.0}")
}

/// The latency with this decimal logarithm of milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is positive and small"
)]
fn power(exponent: f64) -> String {
    shown((10_f64.powf(exponent) * 1e3).round() as u64)
}

/// `90 %`, `99 %`, `99.9 %`, …
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is positive and small"
)]
fn share(nines: f64) -> String {
    let decimals = (nines.round() - 2.0).max(0.0) as usize;
    format!("{:.decimals$} %", 100.0 * (1.0 - 10_f64.powf(-nines)))
}

/// All charts that have data.
pub fn charts(report: &Report) -> Result<Vec<Chart>> {
    let timeline = &report.timeline;
    let of = |name: &str, value: &dyn Fn(&Second) -> Option<f64>| {
        let points = timeline.iter().filter_map(|second| Some((second.at, value(second)?))).collect();
        Line { name: name.to_owned(), points }
    };
    let settled = Line { name: "settled".to_owned(), points: numbered(&report.settled_by_second) };
    let rates = vec![
        of("started", &|second| Some(count(second.started))),
        of("accepted", &|second| Some(count(second.accepted))),
        settled,
        of("visits", &|second| (second.visits > 0).then(|| count(second.visits))),
        of("refused or lost", &|second| Some(count(second.refused + second.lost))),
    ];
    let latencies = vec![
        of("accept p50", &|second| second.accept_p50.map(decades)),
        of("accept p99", &|second| second.accept_p99.map(decades)),
        of("settle p50", &|second| second.settle_p50.map(decades)),
        of("settle p99", &|second| second.settle_p99.map(decades)),
    ];
    let waiting = vec![
        of("bookings in the queue", &|second| second.queue.map(count)),
        of("requests in flight", &|second| Some(count(second.in_flight))),
    ];
    let rate = |name| Axis { name, shown: plain, labels: some };
    let plots = [
        ("Rates", SECONDS, rate("per second"), rates),
        ("Queue and requests in flight", SECONDS, rate("count"), waiting),
        ("Latency over time", SECONDS, LATENCY, latencies),
        ("Latency by percentile", NINES, LATENCY, percentiles(report)),
        ("Memory", SECONDS, rate("MB"), memory(timeline)),
    ];
    let mut charts = Vec::new();
    for (title, x, y, mut lines) in plots {
        lines.retain(|line| !line.points.is_empty());
        if !lines.is_empty() {
            let svg = draw(x, y, &lines).map_err(|error| anyhow!("drawing '{title}': {error}"))?;
            charts.push(Chart { title, legend: legend(&lines), svg });
        }
    }
    Ok(charts)
}

/// One point per second, at its end.
#[expect(clippy::cast_precision_loss, reason = "the values are plotted")]
fn numbered(values: &[u64]) -> Vec<(f64, f64)> {
    values.iter().enumerate().map(|(second, value)| (second as f64 + 1.0, count(*value))).collect()
}

fn percentiles(report: &Report) -> Vec<Line> {
    let latencies = &report.latencies;
    let clocks = [
        ("accept", latencies.accept.as_ref()),
        ("settle", latencies.settle.as_ref()),
        ("poll", latencies.poll.as_ref()),
        ("visit", latencies.visit.as_ref()),
        ("queued", latencies.queued.as_ref()),
        ("start lag", Some(&latencies.lag)),
    ];
    let line = |(name, latency): (&str, Option<&super::Latency>)| {
        let below_all = latency?.curve.iter().filter(|(share, _)| *share < 1.0);
        let points = below_all.map(|(share, micros)| (-(1.0 - share).log10(), decades(*micros))).collect();
        Some(Line { name: name.to_owned(), points })
    };
    clocks.into_iter().filter_map(line).collect()
}

fn memory(timeline: &[Second]) -> Vec<Line> {
    let Some(last) = timeline.last() else { return Vec::new() };
    let of = |name: &String| {
        let megabytes = |second: &Second| Some((second.at, count(*second.memory.get(name)?) / 1024.0));
        Line { name: name.clone(), points: timeline.iter().filter_map(megabytes).collect() }
    };
    last.memory.keys().map(of).collect()
}

#[expect(clippy::cast_precision_loss, reason = "the values are plotted")]
fn count(value: u64) -> f64 {
    value as f64
}

/// The decimal logarithm of a latency in milliseconds.
fn decades(micros: u64) -> f64 {
    (count(micros.max(1)) / 1e3).log10()
}

fn draw(x: Axis, y: Axis, lines: &[Line]) -> Result<String, Box<dyn std::error::Error + '_>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let (x_range, y_range) = (range(lines, |point| point.0), range(lines, |point| point.1));
        let labels = (x.labels)(x_range.end);
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .set_label_area_size(LabelAreaPosition::Left, 70)
            .set_label_area_size(LabelAreaPosition::Bottom, 44)
            .build_cartesian_2d(x_range, y_range)?;
        chart
            .configure_mesh()
            .light_line_style(BLACK.mix(0.03))
            .bold_line_style(BLACK.mix(0.12))
            .x_desc(x.name)
            .y_desc(y.name)
            .x_label_formatter(&|value| (x.shown)(*value))
            .y_label_formatter(&|value| (y.shown)(*value))
            .x_labels(labels)
            .label_style(("sans-serif", 13))
            .draw()?;
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
        }
        area.present()?;
    }
    Ok(svg)
}

/// The range of all values, including zero, with a margin at the top.
fn range(lines: &[Line], value: impl Fn(&(f64, f64)) -> f64) -> std::ops::Range<f64> {
    let values = || lines.iter().flat_map(|line| &line.points).map(&value);
    let (low, high) = (values().fold(0.0, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    low..(high + (high - low) * 0.05).max(low + 1e-3)
}
