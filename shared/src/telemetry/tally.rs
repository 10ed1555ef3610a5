//! Counts refused and failed requests by problem code, and logs the counts once a second. One line per request would
//! add a flood of log lines to a flood of requests.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::traces::{TraceContext, trace_id};

const EVERY: Duration = Duration::from_secs(1);

/// Counts by code since the last report.
#[derive(Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, Count>>);

#[derive(Default)]
struct Count {
    requests: u64,
    is_error: bool,
    sample: Option<Sample>,
}

/// One request, as an example of those with its code.
#[derive(Clone, Debug)]
pub struct Sample {
    pub text: String,
    /// Its span, if its trace is exported.
    pub trace: Option<TraceContext>,
}

impl From<String> for Sample {
    fn from(text: String) -> Self {
        Self { text, trace: None }
    }
}

impl Tally {
    /// Counts a request. `is_error` marks a failure of this system, which needs an operator. `sample` describes the
    /// request; it is called only if this code has no sample since the last report.
    pub fn count(&self, code: &'static str, is_error: bool, sample: impl FnOnce() -> Option<Sample>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(code).or_default();
        count.requests += 1;
        count.is_error |= is_error;
        if count.sample.is_none() {
            count.sample = sample();
        }
    }

    /// The sample of this code for the next report.
    pub fn sample(&self, code: &str) -> Option<Sample> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(code)?.sample.clone()
    }

    /// Logs the counts once a second until `stop` is cancelled, and then once more.
    pub async fn report_every_second(&self, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.report();
        }
        self.report();
    }

    fn report(&self) {
        let counts = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if counts.is_empty() {
            return;
        }
        let line = summary(&counts);
        if counts.values().any(|count| count.is_error) {
            error!("{line}");
        } else {
            warn!("{line}");
        }
        for (code, Count { is_error, sample, .. }) in counts {
            match sample {
                Some(Sample { text, trace }) if is_error => {
                    error!(code, trace_id = trace_id(trace), "example of {code}: {text}");
                }
                Some(Sample { text, trace }) => {
                    warn!(code, trace_id = trace_id(trace), "example of {code}: {text}");
                }
                None => {}
            }
        }
    }
}

/// The counts by code, the highest first.
fn summary(counts: &BTreeMap<&'static str, Count>) -> String {
    let mut listed: Vec<_> = counts.iter().map(|(code, count)| (Reverse(count.requests), code)).collect();
    listed.sort_unstable();
    let listed: Vec<String> =
        listed.iter().map(|(Reverse(requests), code)| format!("{requests} {code}")).collect();
    format!("requests refused or failed in the last second: {}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::telemetry::LogIds;
    use crate::telemetry::queue::{LineQueue, Lines};

    #[test]
    fn a_report_lists_counts_by_code_with_one_example_each() {
        let (tally, queue) = (Tally::default(), Arc::new(LineQueue::new(LogIds::random())));
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(queue.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tally.report();
            tally.count("internal", true, || Some("GET /concerts: broken".to_owned().into()));
            for number in 0..300 {
                tally.count("queue-full", false, || Some(format!("number {number}").into()));
                tally.count("too-many-requests", false, || None);
            }
            tally.count("queue-full", false, || None);
            tally.report();
            tally.report();
        });
        let mut lines = Lines::default();
        queue.take(&mut lines, Duration::ZERO);
        let text = String::from_utf8(lines.bytes).unwrap();
        let logged: Vec<&str> = text.lines().map(|line| line.split_once(' ').unwrap().1.trim()).collect();
        assert_eq!(
            logged,
            [
                "ERROR hamro_shared::telemetry::tally: requests refused or failed in the last second: \
                 301 queue-full, 300 too-many-requests, 1 internal",
                "ERROR hamro_shared::telemetry::tally: example of internal: GET /concerts: broken code=\"internal\"",
                "WARN hamro_shared::telemetry::tally: example of queue-full: number 0 code=\"queue-full\"",
            ]
        );
    }
}
