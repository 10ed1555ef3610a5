//! How many bookings had arrived by a given time.

use std::collections::VecDeque;

/// A point is kept if the count differs from the previous one by this share of the bookings that are not settled. A
/// queue of any length takes a few thousand points.
const RESOLUTION: i64 = 1000;

/// Counts by time, in milliseconds since the Unix epoch. What it says about a time that it covers never increases.
///
/// A count that lasts has two points, its first and its latest time, so that it is known when the next booking arrived.
#[derive(Debug)]
pub struct Timeline {
    /// Nothing is known about earlier times.
    since: i64,
    points: VecDeque<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    at: i64,
    /// How many bookings had arrived before.
    arrived: i64,
}

impl Timeline {
    /// Begins at `since`, when `arrived` bookings had arrived.
    pub fn starting_at(since: i64, arrived: i64) -> Self {
        Self { since, points: VecDeque::from([Point { at: since, arrived }]) }
    }

    pub fn since(&self) -> i64 {
        self.since
    }

    pub fn covers(&self, at: i64) -> bool {
        at >= self.since
    }

    /// The latest time that was recorded.
    pub fn latest(&self) -> i64 {
        self.points.back().map_or(self.since, |point| point.at)
    }

    /// Records that `arrived` bookings had arrived before `at`, of which `departed` were settled. Times that are earlier
    /// than the previous one count as that one.
    pub fn record(&mut self, at: i64, arrived: i64, departed: i64) {
        let resolution = ((arrived - departed) / RESOLUTION).max(1);
        match self.points.back() {
            Some(last) if at <= last.at => {}
            Some(last) if arrived == last.arrived => self.extend_last(at),
            Some(last) if (arrived - last.arrived).abs() < resolution => {}
            _ => self.points.push_back(Point { at, arrived }),
        }
    }

    /// The last count has not changed until `at`.
    fn extend_last(&mut self, at: i64) {
        let count = self.points.len();
        let arrived = self.points[count - 1].arrived;
        if count > 1 && self.points[count - 2].arrived == arrived {
            self.points[count - 1].at = at;
        } else {
            self.points.push_back(Point { at, arrived });
        }
    }

    /// When the first booking arrived that is not settled, or a little earlier. It was there at the beginning if that is
    /// the beginning.
    pub fn oldest_arrival(&self, departed: i64) -> i64 {
        let after = self.points.partition_point(|point| point.arrived <= departed);
        after.checked_sub(1).map_or(self.since, |index| self.points[index].at)
    }

    /// How many bookings had arrived before `at`, if not all of them are settled.
    pub fn arrived_before(&self, at: i64) -> Option<i64> {
        let after = self.points.partition_point(|point| point.at <= at);
        after.checked_sub(1).map(|index| self.points[index].arrived)
    }

    /// Forgets times before which only settled bookings had arrived.
    pub fn forget_settled(&mut self, departed: i64) {
        while self.points.get(1).is_some_and(|second| second.arrived <= departed) {
            self.points.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_the_count_of_the_latest_point_before_it() {
        let mut timeline = Timeline::starting_at(10, 0);
        timeline.record(20, 0, 0);
        timeline.record(30, 1, 0);
        timeline.record(30, 2, 0);
        timeline.record(25, 3, 0);
        timeline.record(40, 4, 0);
        let counts = [15, 20, 29, 30, 39, 100].map(|at| timeline.arrived_before(at));
        assert_eq!(counts, [Some(0), Some(0), Some(0), Some(1), Some(1), Some(4)]);
        assert_eq!((timeline.covers(9), timeline.covers(10), timeline.latest()), (false, true, 40));
    }

    #[test]
    fn a_million_bookings_take_a_few_thousand_points_and_their_counts_are_accurate() {
        let mut timeline = Timeline::starting_at(0, 0);
        for n in 0..1_000_000 {
            timeline.record(n, n, 0);
        }
        assert!(timeline.points.len() < 10_000, "{}", timeline.points.len());
        for at in [999, 50_000, 999_999] {
            let error = at - timeline.arrived_before(at).unwrap();
            assert!((0..=at / RESOLUTION).contains(&error), "{error} at {at}");
        }
    }

    #[test]
    fn the_oldest_booking_arrived_when_the_count_had_lasted_until() {
        let mut timeline = Timeline::starting_at(0, 5);
        assert_eq!(timeline.oldest_arrival(3), 0);
        for at in [100, 3_000, 3_600] {
            timeline.record(at, 5, 5);
        }
        assert_eq!((timeline.points.len(), timeline.oldest_arrival(5)), (2, 3_600));
        for (at, arrived) in [(3_700, 6), (3_900, 7), (5_000, 8)] {
            timeline.record(at, arrived, 5);
        }
        let oldest = [5, 6, 7].map(|departed| timeline.oldest_arrival(departed));
        assert_eq!(oldest, [3_600, 3_700, 3_900]);
        timeline.forget_settled(6);
        assert_eq!(timeline.oldest_arrival(6), 3_700);
        assert_eq!([3_650, 3_700, 4_000].map(|at| timeline.arrived_before(at)), [None, Some(6), Some(7)]);
    }

    #[test]
    fn points_of_settled_bookings_are_forgotten() {
        let mut timeline = Timeline::starting_at(0, 0);
        for n in 0..100 {
            timeline.record(n, n, n - 10);
            timeline.forget_settled(n - 10);
        }
        assert!(timeline.points.len() <= 12, "{}", timeline.points.len());
        assert_eq!(timeline.arrived_before(50), None);
    }
}
