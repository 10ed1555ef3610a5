//! When this instance has published its latest bookings, for its heartbeats.

use std::collections::VecDeque;

use hamro_shared::queue::Published;
use tokio::time::Instant;

/// The latest second, in steps of [`Published::STEP`].
#[derive(Debug)]
pub struct RecentBookings {
    /// The start of step 0.
    start: Instant,
    /// The steps with bookings, as (step, bookings).
    steps: VecDeque<(u128, u64)>,
}

impl Default for RecentBookings {
    fn default() -> Self {
        Self { start: Instant::now(), steps: VecDeque::new() }
    }
}

impl RecentBookings {
    pub fn add(&mut self, bookings: u64, now: Instant) {
        let step = self.step(now);
        match self.steps.back_mut() {
            Some((last, count)) if *last == step => *count += bookings,
            _ => self.steps.push_back((step, bookings)),
        }
        self.forget_old(step);
    }

    /// The bookings of each step, from the current one back.
    pub fn counts(&mut self, now: Instant) -> Vec<u64> {
        let current = self.step(now);
        self.forget_old(current);
        let mut counts = Vec::new();
        for &(step, count) in self.steps.iter().rev() {
            let age = usize::try_from(current.saturating_sub(step)).unwrap_or(usize::MAX);
            counts.resize(age.min(Published::STEPS), 0);
            counts.push(count);
        }
        counts
    }

    fn forget_old(&mut self, current: u128) {
        while self.steps.front().is_some_and(|(step, _)| current - step >= Published::STEPS as u128) {
            self.steps.pop_front();
        }
    }

    fn step(&self, now: Instant) -> u128 {
        now.duration_since(self.start).as_millis() / Published::STEP.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bookings_are_counted_by_their_age_and_forgotten_after_a_second() {
        let mut recent = RecentBookings::default();
        let after = |millis| recent.start + Duration::from_millis(millis);
        let times = [0, 5, 995, 1_010].map(after);
        for (bookings, at) in [(1, times[0]), (2, times[1]), (4, times[2]), (8, times[3])] {
            recent.add(bookings, at);
        }
        assert_eq!(recent.counts(times[3]), [8, 0, 4]);
        assert_eq!(recent.counts(times[3] + Duration::from_secs(2)), [0; 0]);
    }
}
