//! The last 15 minutes, second by second.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

use super::increase::{BUCKETS, Buckets, Increase};
use crate::outcomes::queue_estimate::QueueEstimate;

/// How many seconds are kept.
pub const SECONDS: i64 = 900;

/// Where a task was late by at most this many seconds, the state of the queue counts for all of them.
const LATE_AT_MOST: i64 = 5;

/// An increase over a longer time says nothing about a single second.
const SPAN_MAX_MILLIS: i64 = 10_000;

#[derive(Default)]
pub struct History {
    /// The second of the first element, since the Unix epoch.
    first: i64,
    seconds: VecDeque<Second>,
    /// The seconds before this one have ended.
    ended_until: Option<i64>,
}

/// What happened in a second in the whole installation.
#[derive(Clone, Debug, Default)]
pub struct Second {
    /// Whether all heartbeats were received, so that what is not counted did not happen.
    pub is_known: bool,
    pub accepted: f64,
    pub refused: BTreeMap<String, f64>,
    pub settled: BTreeMap<String, f64>,
    pub accept_latency: Parts,
    pub settle_latency: Parts,
    pub gauges: Gauges,
}

/// A histogram of durations, of which parts of values belong to a second.
pub type Parts = [f64; BUCKETS];

/// The state of the queue at the end of a second. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gauges {
    pub depth: Option<f64>,
    pub oldest_age_seconds: Option<f64>,
    pub drain_rate: Option<f64>,
    pub workers: Option<f64>,
}

impl Gauges {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵²")]
    pub fn of(queue_estimate: &QueueEstimate, now: Instant) -> Self {
        Self {
            depth: queue_estimate.depth().map(|depth| depth as f64),
            oldest_age_seconds: queue_estimate.figures().oldest_age.map(|age| age.as_secs_f64()),
            drain_rate: queue_estimate.drain_rate(now),
            workers: queue_estimate.workers(now).map(|workers| workers as f64),
        }
    }
}

impl History {
    /// Distributes the increase evenly over the time between two heartbeats, in milliseconds since the Unix epoch.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵²")]
    pub fn add(&mut self, from: i64, until: i64, increase: &Increase) {
        if increase.is_empty() || until - from > SPAN_MAX_MILLIS {
            return;
        }
        // A clock that was set back counts as no time.
        let from = from.min(until - 1);
        for second in from.div_euclid(1_000)..=(until - 1).div_euclid(1_000) {
            let overlap = until.min(second * 1_000 + 1_000) - from.max(second * 1_000);
            let part = overlap as f64 / (until - from) as f64;
            if let Some(second) = self.second(second) {
                second.add(increase, part);
            }
        }
    }

    /// The seconds before this one have ended, with this state of the queue. They are known if all heartbeats were received
    /// since then; `listening_since` is in milliseconds since the Unix epoch.
    pub fn end_until(&mut self, until: i64, listening_since: Option<i64>, gauges: Gauges) {
        let first = self.ended_until.unwrap_or(until - 1).clamp(until - LATE_AT_MOST, until);
        for number in first..until {
            if let Some(second) = self.second(number) {
                second.is_known = listening_since.is_some_and(|since| since <= number * 1_000);
                second.gauges = gauges;
            }
        }
        self.ended_until = Some(until);
    }

    /// The seconds from `since` to before `until`, and the first of them.
    pub fn range(&self, since: i64, until: i64) -> (i64, impl Iterator<Item = &Second> + Clone) {
        let end = self.first + self.length();
        let from = since.clamp(self.first, end);
        let until = until.clamp(from, end);
        let index = |second: i64| usize::try_from(second - self.first).unwrap_or(0);
        (from, self.seconds.range(index(from)..index(until)))
    }

    /// The second with this number. `None` if it is too old.
    fn second(&mut self, number: i64) -> Option<&mut Second> {
        if self.seconds.is_empty() || number >= self.first + self.length() + SECONDS {
            self.seconds.clear();
            self.first = number;
        }
        while number >= self.first + self.length() {
            self.seconds.push_back(Second::default());
        }
        while self.length() > SECONDS {
            self.seconds.pop_front();
            self.first += 1;
        }
        self.seconds.get_mut(usize::try_from(number - self.first).ok()?)
    }

    fn length(&self) -> i64 {
        i64::try_from(self.seconds.len()).unwrap_or(SECONDS)
    }
}

impl Second {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2⁵²")]
    fn add(&mut self, increase: &Increase, part: f64) {
        let add_named = |to: &mut BTreeMap<String, f64>, named: &BTreeMap<String, u64>| {
            for (name, count) in named {
                *to.entry(name.clone()).or_default() += *count as f64 * part;
            }
        };
        let add_buckets = |to: &mut Parts, buckets: &Buckets| {
            for (to, count) in to.iter_mut().zip(buckets) {
                *to += *count as f64 * part;
            }
        };
        self.accepted += increase.accepted as f64 * part;
        add_named(&mut self.refused, &increase.refused);
        add_named(&mut self.settled, &increase.settled);
        add_buckets(&mut self.accept_latency, &increase.accept_latency);
        add_buckets(&mut self.settle_latency, &increase.settle_latency);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn accepted(count: u64) -> Increase {
        Increase { accepted: count, ..Increase::default() }
    }

    fn rates(history: &History) -> (i64, Vec<f64>) {
        let (from, seconds) = history.range(0, i64::MAX);
        (from, seconds.map(|second| second.accepted.round()).collect())
    }

    #[test]
    fn an_increase_belongs_evenly_to_the_time_between_two_heartbeats() {
        let mut history = History::default();
        history.add(NOW * 1_000 + 500, NOW * 1_000 + 1_500, &accepted(100));
        history.add(NOW * 1_000 + 1_500, NOW * 1_000 + 4_000, &accepted(250));
        assert_eq!(rates(&history), (NOW, vec![50.0, 100.0, 100.0, 100.0]));
        // A clock that was set back by a second, and a process that was silent for too long.
        history.add(NOW * 1_000 + 4_000, NOW * 1_000 + 3_000, &accepted(7));
        history.add(NOW * 1_000 - 20_000, NOW * 1_000 + 3_000, &accepted(1_000));
        assert_eq!(rates(&history), (NOW, vec![50.0, 100.0, 107.0, 100.0]));
    }

    #[test]
    fn fifteen_minutes_are_kept() {
        let mut history = History::default();
        for second in NOW..NOW + 2_000 {
            history.add(second * 1_000, second * 1_000 + 1_000, &accepted(3));
        }
        assert_eq!(rates(&history), (NOW + 2_000 - SECONDS, vec![3.0; 900]));
        // Too old.
        history.add(NOW * 1_000, NOW * 1_000 + 1_000, &accepted(3));
        assert_eq!(rates(&history), (NOW + 2_000 - SECONDS, vec![3.0; 900]));
        // After an hour in which the machine was suspended.
        history.add((NOW + 5_600) * 1_000, (NOW + 5_601) * 1_000, &accepted(4));
        assert_eq!(rates(&history), (NOW + 5_600, vec![4.0]));
    }

    #[test]
    fn a_range_is_limited_to_what_is_kept() {
        let mut history = History::default();
        history.add(NOW * 1_000, NOW * 1_000 + 3_000, &accepted(3));
        for (since, until, expected) in [
            (0, NOW + 1, (NOW, 1)),
            (NOW + 1, NOW + 2, (NOW + 1, 1)),
            (NOW + 9, NOW + 10, (NOW + 3, 0)),
            (NOW + 2, NOW + 1, (NOW + 2, 0)),
            (i64::MIN, i64::MAX, (NOW, 3)),
        ] {
            let (from, seconds) = history.range(since, until);
            assert_eq!((from, seconds.count()), expected, "{since} to {until}");
        }
        assert_eq!(History::default().range(NOW, NOW + 5).1.count(), 0);
    }

    #[test]
    fn a_second_is_known_if_all_its_heartbeats_were_received() {
        let mut history = History::default();
        let gauges = Gauges { depth: Some(7.0), ..Gauges::default() };
        history.end_until(NOW, None, gauges);
        history.end_until(NOW + 1, Some(NOW * 1_000 + 500), gauges);
        // One tick was late.
        history.end_until(NOW + 3, Some(NOW * 1_000 + 500), gauges);
        // The machine was suspended.
        history.end_until(NOW + 60, Some(NOW * 1_000 + 500), gauges);
        let (from, seconds) = history.range(0, i64::MAX);
        let known: Vec<i64> =
            (from..).zip(seconds).filter(|(_, second)| second.is_known).map(|(n, _)| n).collect();
        let expected: Vec<i64> = [NOW + 1, NOW + 2].into_iter().chain(NOW + 55..NOW + 60).collect();
        assert_eq!(known, expected);
    }
}
