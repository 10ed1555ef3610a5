//! The metrics of a run. Latencies are in microseconds and start when a request was due.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use hamro_verification::contract::BookingResponse;

/// The largest latency that is recorded: an hour.
const MAX_MICROS: u64 = 3_600_000_000;
/// Significant digits of the histograms.
const DIGITS: u8 = 3;

pub struct Metrics(Mutex<MetricsData>);

/// The metrics so far.
pub struct MetricsData {
    /// From when a request was due until this program started it.
    pub lag: Histogram<u64>,
    /// Until the response that accepts the booking; on the waiting endpoint, the outcome.
    pub accept: Histogram<u64>,
    /// Until the client that follows the ticket receives its outcome.
    pub settle: Histogram<u64>,
    /// Until the response to a status poll.
    pub poll: Histogram<u64>,
    /// Number of responses by kind.
    pub responses: BTreeMap<Box<str>, u64>,
    pub started: u64,
    pub accepted: u64,
    /// Bookings that the target did not accept, such as `queue-full`.
    pub refused: u64,
    /// Requests without a valid response.
    pub lost: u64,
    pub in_flight: u64,
    /// Tickets that are or were followed.
    pub followed: u64,
    /// When the last response was received.
    pub last_response: Instant,
    pub timeline: Vec<Second>,
    window: Window,
}

/// The metrics since the last tick.
struct Window {
    accept: Histogram<u64>,
    settle: Histogram<u64>,
    poll: Histogram<u64>,
    started: u64,
    visits: u64,
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
    #[serde(alias = "begun")]
    pub started: u64,
    pub accepted: u64,
    pub refused: u64,
    pub lost: u64,
    /// Only tickets that are followed.
    pub settled: u64,
    pub polled: u64,
    /// Visits of the page that were started.
    #[serde(skip_serializing_if = "is_zero")]
    pub visits: u64,
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Second {
    /// Whether buyers arrived.
    pub fn is_busy(&self) -> bool {
        self.started + self.visits > 0
    }
}

/// An empty histogram for latencies in microseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_MICROS, DIGITS).expect("the bounds are in order")
}

/// Larger latencies are recorded as the maximum.
pub fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_micros()).unwrap_or(MAX_MICROS).max(1));
}

impl Default for Metrics {
    fn default() -> Self {
        let window = Window {
            accept: histogram(),
            settle: histogram(),
            poll: histogram(),
            started: 0,
            visits: 0,
            refused: 0,
            lost: 0,
        };
        Self(Mutex::new(MetricsData {
            lag: histogram(),
            accept: histogram(),
            settle: histogram(),
            poll: histogram(),
            responses: BTreeMap::new(),
            started: 0,
            accepted: 0,
            refused: 0,
            lost: 0,
            in_flight: 0,
            followed: 0,
            last_response: Instant::now(),
            timeline: Vec::new(),
            window,
        }))
    }
}

impl Metrics {
    pub fn read(&self) -> MutexGuard<'_, MetricsData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the start of a request.
    pub fn begin(&self, due: Instant) {
        let mut data = self.read();
        data.started += 1;
        data.window.started += 1;
        data.in_flight += 1;
        record(&mut data.lag, due.elapsed());
    }

    /// Records that a visitor starts to load the page.
    pub fn begin_visit(&self, due: Instant) {
        let mut data = self.read();
        data.window.visits += 1;
        data.in_flight += 1;
        record(&mut data.lag, due.elapsed());
    }

    /// Records that a page is loaded, or that a request of it failed.
    pub fn end_visit(&self, is_complete: bool) {
        let mut data = self.read();
        data.in_flight -= 1;
        if is_complete {
            data.last_response = Instant::now();
        } else {
            data.window.lost += 1;
        }
    }

    /// Records the response to a booking.
    pub fn responded(&self, response: &BookingResponse, took: Duration) {
        let mut data = self.read();
        data.in_flight -= 1;
        match data.responses.get_mut(response.name()) {
            Some(count) => *count += 1,
            None => drop(data.responses.insert(response.name().into(), 1)),
        }
        let is_settled = response.outcome().is_some();
        match response {
            BookingResponse::Missing { .. } => {
                data.lost += 1;
                data.window.lost += 1;
                return;
            }
            BookingResponse::Refused { .. } if !is_settled => {
                data.refused += 1;
                data.window.refused += 1;
            }
            _ => {
                data.accepted += 1;
                record(&mut data.accept, took);
                record(&mut data.window.accept, took);
            }
        }
        data.last_response = Instant::now();
    }

    /// Records the response to a status poll, or its error.
    pub fn polled(&self, response: Result<Duration, &str>) {
        let mut data = self.read();
        data.in_flight -= 1;
        match response {
            Ok(took) => {
                record(&mut data.poll, took);
                record(&mut data.window.poll, took);
                data.last_response = Instant::now();
            }
            Err(why) => {
                *data.responses.entry(why.into()).or_default() += 1;
                data.lost += 1;
                data.window.lost += 1;
            }
        }
    }

    pub fn follows(&self) {
        self.read().followed += 1;
    }

    /// Records that a follower has received the outcome of its ticket.
    pub fn settled(&self, took: Duration) {
        let mut data = self.read();
        record(&mut data.settle, took);
        record(&mut data.window.settle, took);
    }

    /// Completes a second of the timeline.
    pub fn tick(&self, at: f64, queue: Option<u64>, memory: BTreeMap<String, u64>) -> Second {
        let mut data = self.read();
        let in_flight = data.in_flight;
        let window = &mut data.window;
        let at_share = |histogram: &Histogram<u64>, share: f64| {
            (!histogram.is_empty()).then(|| histogram.value_at_quantile(share))
        };
        let second = Second {
            at,
            started: window.started,
            accepted: window.accept.len(),
            refused: window.refused,
            lost: window.lost,
            settled: window.settle.len(),
            polled: window.poll.len(),
            visits: window.visits,
            in_flight,
            accept_p50: at_share(&window.accept, 0.5),
            accept_p99: at_share(&window.accept, 0.99),
            settle_p50: at_share(&window.settle, 0.5),
            settle_p99: at_share(&window.settle, 0.99),
            queue,
            memory,
        };
        (window.started, window.visits, window.refused, window.lost) = (0, 0, 0, 0);
        window.accept.reset();
        window.settle.reset();
        window.poll.reset();
        data.timeline.push(second.clone());
        second
    }
}
