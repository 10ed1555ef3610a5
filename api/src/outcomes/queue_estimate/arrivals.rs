//! How many bookings have arrived, and how many had when a ticket was issued.
//!
//! The bookings of this instance are counted one by one. Those of the other instances are counted by their heartbeats,
//! which say in which 10 ms they were published. So the count at a given time is known once every other instance has
//! sent a heartbeat after it. From then on it does not change, and all instances agree on it.

use std::collections::VecDeque;

use super::timeline::Timeline;

/// The steps in which the bookings of other instances are distributed, in milliseconds.
const STEP: i64 = 10;
/// A clock that is set back by more than this starts a new timeline.
const CLOCK_STEP_BACK: i64 = 2_000;

/// Times are in milliseconds since the Unix epoch.
#[derive(Debug)]
pub struct Arrivals {
    timeline: Timeline,
    /// All bookings that have arrived.
    all: i64,
    /// Those that the timeline includes.
    recorded: i64,
    /// Until when the timeline is complete. `None` if there is no other instance: it always is.
    recorded_until: Option<i64>,
    /// Arrivals at this instance after that, by time of issue.
    own: VecDeque<i64>,
    /// Arrivals at other instances after that.
    others: Vec<Span>,
}

/// Bookings that have arrived in a period of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: i64,
    pub until: i64,
    pub bookings: i64,
}

impl Span {
    /// How many of them arrived before `at`.
    pub fn before(self, at: i64) -> i64 {
        if at >= self.until {
            self.bookings
        } else {
            self.bookings * (at - self.from).max(0) / (self.until - self.from).max(1)
        }
    }
}

/// What is known about a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivedBefore {
    Bookings(i64),
    /// Other instances have not reported their bookings yet.
    NotKnownYet,
    Unknown,
}

impl Arrivals {
    /// Begins with `bookings` in the queue.
    pub fn starting_at(now: i64, bookings: i64, has_others: bool) -> Self {
        Self {
            timeline: Timeline::starting_at(now, bookings),
            all: bookings,
            recorded: bookings,
            recorded_until: has_others.then_some(now),
            own: VecDeque::new(),
            others: Vec::new(),
        }
    }

    /// All bookings that have arrived.
    pub fn all(&self) -> i64 {
        self.all
    }

    /// A ticket was issued by this instance.
    pub fn on_issued(&mut self, at: i64, departed: i64) {
        if at < self.timeline.latest() - CLOCK_STEP_BACK {
            *self = Self::starting_at(at, self.all, self.recorded_until.is_some());
        }
        self.all += 1;
        if self.recorded_until.is_some() {
            self.own.push_back(at);
        } else {
            self.timeline.record(at, self.recorded, departed);
            self.recorded += 1;
        }
    }

    /// These bookings have arrived at another instance. What has arrived before the beginning was in the queue then.
    pub fn on_others(&mut self, spans: &[Span]) {
        let since = self.timeline.since();
        for span in spans {
            let bookings = span.bookings - span.before(since);
            if bookings > 0 {
                self.all += bookings;
                self.others.push(Span { from: span.from.max(since), bookings, ..*span });
            }
        }
    }

    /// Counts bookings without a time: those that turn out to be in the queue, or not to be in it.
    pub fn correct(&mut self, bookings: i64) {
        self.all += bookings;
        self.recorded += bookings;
    }

    /// Every other instance has sent a heartbeat at `until` or later. `None` if there is no other instance.
    pub fn record_until(&mut self, until: Option<i64>, now: i64, departed: i64) {
        let end = until.unwrap_or(now);
        let start = self.recorded_until.unwrap_or(end);
        if !self.own.is_empty() || !self.others.is_empty() {
            let mut at = start;
            while at < end {
                let step_end = (at + STEP).min(end);
                self.record_step(at, step_end, departed);
                at = step_end;
            }
        }
        if until.is_none() {
            self.record_rest(departed);
        }
        if self.own.is_empty() && self.others.is_empty() {
            self.recorded = self.all;
        }
        self.recorded_until = until.map(|_| start.max(end));
    }

    fn record_step(&mut self, from: i64, until: i64, departed: i64) {
        self.timeline.record(from, self.recorded, departed);
        while let Some(at) = self.own.pop_front_if(|at| *at < until) {
            // What was known about earlier times does not change.
            self.timeline.record(at.max(from), self.recorded, departed);
            self.recorded += 1;
        }
        for span in &self.others {
            self.recorded += span.before(until) - span.before(from);
        }
        self.others.retain(|span| span.until > until);
    }

    /// The last other instance is gone: nothing more will be reported about what is not recorded.
    fn record_rest(&mut self, departed: i64) {
        for at in std::mem::take(&mut self.own) {
            self.timeline.record(at, self.recorded, departed);
            self.recorded += 1;
        }
        self.others.clear();
    }

    pub fn arrived_before(&self, at: i64) -> ArrivedBefore {
        if !self.timeline.covers(at) {
            ArrivedBefore::Unknown
        } else if self.recorded_until.is_some_and(|until| at >= until) {
            ArrivedBefore::NotKnownYet
        } else {
            ArrivedBefore::Bookings(self.timeline.arrived_before(at).unwrap_or(0))
        }
    }

    /// When the first booking arrived that is not settled.
    pub fn oldest_arrival(&self, departed: i64) -> i64 {
        self.timeline.oldest_arrival(departed)
    }

    pub fn forget_settled(&mut self, departed: i64) {
        self.timeline.forget_settled(departed);
    }
}

#[cfg(test)]
mod tests {
    use super::ArrivedBefore::{Bookings, NotKnownYet, Unknown};
    use super::*;

    #[test]
    fn the_bookings_of_a_single_instance_are_counted_at_once() {
        let mut arrivals = Arrivals::starting_at(1_000, 300, false);
        for at in 1_000..2_000 {
            arrivals.on_issued(at, 0);
            assert_eq!(arrivals.arrived_before(at), Bookings(at - 700));
        }
        assert_eq!((arrivals.all(), arrivals.arrived_before(999)), (1_300, Unknown));
    }

    #[test]
    fn a_time_is_known_once_every_other_instance_has_reported() {
        let mut arrivals = Arrivals::starting_at(0, 0, true);
        arrivals.on_issued(100, 0);
        arrivals.on_issued(250, 0);
        assert_eq!(arrivals.arrived_before(100), NotKnownYet);
        arrivals.on_others(&[Span { from: 0, until: 200, bookings: 100 }]);
        arrivals.record_until(Some(200), 210, 0);
        assert_eq!(arrivals.all(), 102);
        // After 90 to 100 ms, 45 to 50 of the 100 bookings of the other instance had arrived.
        let Bookings(first) = arrivals.arrived_before(100) else { panic!("is not known") };
        assert!((45..=50).contains(&first), "{first}");
        assert_eq!(arrivals.arrived_before(250), NotKnownYet);
        arrivals.record_until(Some(400), 410, 0);
        assert_eq!(arrivals.arrived_before(100), Bookings(first), "it changed");
        assert_eq!(arrivals.arrived_before(250), Bookings(101));
    }

    #[test]
    fn nothing_is_lost_when_other_instances_come_and_go() {
        let mut arrivals = Arrivals::starting_at(0, 0, false);
        arrivals.on_issued(10, 0);
        arrivals.record_until(Some(100), 100, 0);
        arrivals.on_issued(120, 0);
        arrivals.on_others(&[Span { from: 100, until: 500, bookings: 7 }]);
        arrivals.record_until(Some(300), 520, 0);
        arrivals.on_issued(530, 0);
        arrivals.record_until(None, 5_000, 0);
        arrivals.on_issued(5_010, 0);
        assert_eq!((arrivals.all(), arrivals.arrived_before(5_010)), (11, Bookings(10)));
        assert_eq!(arrivals.arrived_before(120), Bookings(1));
    }

    #[test]
    fn what_other_instances_have_published_before_the_beginning_does_not_count_again() {
        let mut arrivals = Arrivals::starting_at(1_000, 50, true);
        let spans = [(800, 900, 20), (950, 1_050, 10), (1_050, 1_100, 3)];
        let spans = spans.map(|(from, until, bookings)| Span { from, until, bookings });
        arrivals.on_others(&spans);
        assert_eq!(arrivals.all(), 58);
    }

    #[test]
    fn a_clock_that_is_set_back_starts_a_new_timeline() {
        let mut arrivals = Arrivals::starting_at(1_000_000, 0, false);
        arrivals.on_issued(1_000_500, 0);
        arrivals.on_issued(700_000, 0);
        arrivals.on_issued(700_001, 0);
        assert_eq!(
            (arrivals.arrived_before(700_001), arrivals.arrived_before(699_999)),
            (Bookings(2), Unknown)
        );
    }
}
