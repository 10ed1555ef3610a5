//! What a run measures while it lasts. Latencies are in microseconds, from when a request was due.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::wire::Answer;

/// The longest that can be told apart: an hour.
const MAX_MICROS: u64 = 3_600_000_000;
/// To a thousandth.
const DIGITS: u8 = 3;

pub struct Meter(Mutex<Readings>);

/// What was measured so far.
pub struct Readings {
    /// From when a request was due until this program got round to it.
    pub lag: Histogram<u64>,
    /// Until the answer that takes the booking; by the waiting contract, that settles it.
    pub accept: Histogram<u64>,
    /// Until whoever follows the ticket hears how it ended.
    pub settle: Histogram<u64>,
    /// Until the answer to a status poll.
    pub poll: Histogram<u64>,
    /// How often which answer came.
    pub answers: BTreeMap<Box<str>, u64>,
    pub begun: u64,
    pub accepted: u64,
    pub in_flight: u64,
    /// Tickets that are or were followed.
    pub followed: u64,
    /// When anybody last answered.
    pub last_answer: Instant,
    pub timeline: Vec<Second>,
    window: Window,
}

/// What has happened since the last tick.
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
    /// Requests that were begun.
    pub begun: u64,
    pub accepted: u64,
    pub refused: u64,
    pub lost: u64,
    /// Of those that are followed.
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
    /// Bookings in the queue, as the target says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<u64>,
    /// Kilobytes that each process has that is watched.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub memory: BTreeMap<String, u64>,
}

/// For latencies in microseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_MICROS, DIGITS).expect("the bounds are in order")
}

/// Longer than can be told apart is as long as can be.
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

    /// A request that was due is begun.
    pub fn begin(&self, due: Instant) {
        let mut readings = self.read();
        readings.begun += 1;
        readings.window.begun += 1;
        readings.in_flight += 1;
        record(&mut readings.lag, due.elapsed());
    }

    /// A booking was answered.
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

    /// A status poll was answered, or was not.
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

    /// A ticket's follower has heard how it ended.
    pub fn heard(&self, took: Duration) {
        let mut readings = self.read();
        record(&mut readings.settle, took);
        record(&mut readings.window.settle, took);
    }

    /// Closes a second of the timeline.
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
