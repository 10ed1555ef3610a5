//! The metrics of a run. Latencies are in microseconds and start when a request was due.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::wire::Answer;

/// The largest latency that is recorded: an hour.
const MAX_MICROS: u64 = 3_600_000_000;
/// Significant digits of the histograms.
const DIGITS: u8 = 3;

pub struct Meter(Mutex<Readings>);

/// The metrics so far.
pub struct Readings {
    /// From when a request was due until this program started it.
    pub lag: Histogram<u64>,
    /// Until the response that accepts the booking; on the waiting endpoint, the outcome.
    pub accept: Histogram<u64>,
    /// Until the client that follows the ticket receives its outcome.
    pub settle: Histogram<u64>,
    /// Until the response to a status poll.
    pub poll: Histogram<u64>,
    /// Number of responses by kind.
    pub answers: BTreeMap<Box<str>, u64>,
    pub begun: u64,
    pub accepted: u64,
    pub in_flight: u64,
    /// Tickets that are or were followed.
    pub followed: u64,
    /// When the last response was received.
    pub last_answer: Instant,
    pub timeline: Vec<Second>,
    window: Window,
}

/// The metrics since the last tick.
struct Window {
    accept: Histogram<u64>,
    settle: Histogram<u64>,
    poll: Histogram<u64>,
    begun: u64,
    refused: u64,
    lost: u64,
}

/// A second of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Second {
    /// Its end, in seconds from the start.
    pub at: f64,
    /// Requests that were started.
    pub begun: u64,
    pub accepted: u64,
    pub refused: u64,
    pub lost: u64,
    /// Only tickets that are followed.
    pub settled: u64,
    pub polled: u64,
    pub in_flight: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_p50: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_p99: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle_p50: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle_p99: Option<u64>,
    /// Bookings in the queue, as reported by the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u64>,
    /// Resident memory of each watched process, in kilobytes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub memory: BTreeMap<String, u64>,
}

/// An empty histogram for latencies in microseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_MICROS, DIGITS).expect("the bounds are in order")
}

/// Larger latencies are recorded as the maximum.
fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(MAX_MICROS).max(1));
}

impl Default for Meter {
    fn default() -> Self {
        let window = Window {
            accept: histogram(),
            settle: histogram(),
            poll: histogram(),
            begun: 0,
            refused: 0,
            lost: 0,
        };
        Self(Mutex::new(Readings {
            lag: histogram(),
            accept: histogram(),
            settle: histogram(),
            poll: histogram(),
            answers: BTreeMap::new(),
            begun: 0,
            accepted: 0,
            in_flight: 0,
            followed: 0,
            last_answer: Instant::now(),
            timeline: Vec::new(),
            window,
        }))
    }
}

impl Meter {
    pub fn read(&self) -> MutexGuard<'_, Readings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the start of a request.
    pub fn begin(&self, due: Instant) {
        let mut readings = self.read();
        readings.begun += 1;
        readings.window.begun += 1;
        readings.in_flight += 1;
        record(&mut readings.lag, due.elapsed());
    }

    /// Records the response to a booking.
    pub fn answered(&self, answer: &Answer, took: Duration) {
        let mut readings = self.read();
        readings.in_flight -= 1;
        match readings.answers.get_mut(answer.name()) {
            Some(count) => *count += 1,
            None => drop(readings.answers.insert(answer.name().into(), 1)),
        }
        let is_settled = answer.outcome().is_some();
        match answer {
            Answer::Lost { .. } => {
                readings.window.lost += 1;
                return;
            }
            Answer::Refused { .. } if !is_settled => readings.window.refused += 1,
            _ => {
                readings.accepted += 1;
                record(&mut readings.accept, took);
                record(&mut readings.window.accept, took);
            }
        }
        readings.last_answer = Instant::now();
    }

    /// Records the response to a status poll, or its error.
    pub fn polled(&self, answer: Result<Duration, &str>) {
        let mut readings = self.read();
        readings.in_flight -= 1;
        match answer {
            Ok(took) => {
                record(&mut readings.poll, took);
                record(&mut readings.window.poll, took);
                readings.last_answer = Instant::now();
            }
            Err(why) => {
                *readings.answers.entry(why.into()).or_default() += 1;
                readings.window.lost += 1;
            }
        }
    }

    pub fn follows(&self) {
        self.read().followed += 1;
    }

    /// Records that a follower has received the outcome of its ticket.
    pub fn settled(&self, took: Duration) {
        let mut readings = self.read();
        record(&mut readings.settle, took);
        record(&mut readings.window.settle, took);
    }

    /// Completes a second of the timeline.
    pub fn tick(&self, at: f64, queue: Option<u64>, memory: BTreeMap<String, u64>) -> Second {
        let mut readings = self.read();
        let in_flight = readings.in_flight;
        let window = &mut readings.window;
        let at_share = |histogram: &Histogram<u64>, share: f64| {
            (!histogram.is_empty()).then(|| histogram.value_at_quantile(share))
        };
        let second = Second {
            at,
            begun: window.begun,
            accepted: window.accept.len(),
            refused: window.refused,
            lost: window.lost,
            settled: window.settle.len(),
            polled: window.poll.len(),
            in_flight,
            accept_p50: at_share(&window.accept, 0.5),
            accept_p99: at_share(&window.accept, 0.99),
            settle_p50: at_share(&window.settle, 0.5),
            settle_p99: at_share(&window.settle, 0.99),
            queue,
            memory,
        };
        (window.begun, window.refused, window.lost) = (0, 0, 0);
        window.accept.reset();
        window.settle.reset();
        window.poll.reset();
        readings.timeline.push(second.clone());
        second
    }
}
