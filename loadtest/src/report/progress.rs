//! Progress during a run: a bar on a terminal, otherwise a line every few seconds.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};

use hamro_shared::telemetry::write_to_stderr;
use indicatif::{ProgressBar, ProgressStyle};

use super::latency::shown;
use crate::metrics::{MetricsData, Second};

/// Seconds between lines if stderr is not a terminal.
const LINE_EVERY: u64 = 5;

pub struct Progress {
    bar: Option<ProgressBar>,
    seconds: AtomicU64,
}

impl Progress {
    pub fn new(buyers: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} {wide_msg}");
            ProgressBar::new(buyers).with_style(style.expect("the template is valid"))
        });
        Self { bar, seconds: AtomicU64::new(0) }
    }

    pub fn show(&self, second: &Second, data: &MetricsData) {
        let line = line(second, data);
        if let Some(bar) = &self.bar {
            bar.set_position(data.started);
            bar.set_message(line);
        } else if self.seconds.fetch_add(1, Ordering::Relaxed).is_multiple_of(LINE_EVERY) {
            write_to_stderr(format!("{:6.0} s  {line}\n", second.at));
        }
    }

    /// Starts another phase, with this number of steps.
    pub fn next(&self, what: &str, steps: u64) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(steps);
                bar.set_position(0);
                bar.set_message(what.to_owned());
            }
            None => write_to_stderr(format!("{what}\n")),
        }
    }

    pub fn step(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn line(second: &Second, data: &MetricsData) -> String {
    let mut parts = vec![format!("{}/s started, {}/s accepted", second.started, second.accepted)];
    if second.visits > 0 {
        parts.insert(0, format!("{}/s visits", second.visits));
    }
    if second.polled > 0 {
        parts.push(format!("{}/s polls responded", second.polled));
    }
    if data.followed > 0 {
        parts.push(format!("{} of {} followed tickets settled", data.settle.len(), data.followed));
    }
    let others = data.responses.iter().filter(|(name, _)| !matches!(&***name, "accepted" | "booked"));
    parts.extend(others.map(|(name, count)| format!("{count} {name}")));
    if let Some(queue) = second.queue {
        parts.push(format!("{queue} in the queue"));
    }
    let p99 = [("accept", second.accept_p99), ("settle", second.settle_p99)];
    parts.extend(p99.iter().filter_map(|(name, p99)| Some(format!("{name} p99 {}", shown((*p99)?)))));
    parts.join(", ")
}
