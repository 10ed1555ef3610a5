//! When the tickets of the bookings that this instance has published lately were issued, for its heartbeats.

use std::collections::BTreeMap;

use hamro_shared::queue::Published;

/// The bookings of each step of [`Published::STEP_MILLIS`] in the latest second. Times are in milliseconds since
/// the Unix epoch.
#[derive(Debug, Default)]
pub struct RecentBookings(BTreeMap<i64, u64>);

impl RecentBookings {
    pub fn add(&mut self, issued_at: i64) {
        *self.0.entry(step(issued_at)).or_default() += 1;
        if self.0.len() > Published::STEPS {
            self.0.pop_first();
        }
    }

    /// The bookings of each step, from the one of `now` back.
    pub fn counts(&mut self, now: i64) -> Vec<u64> {
        let current = step(now);
        let mut counts = Vec::new();
        self.0.retain(|&step, &mut count| {
            let age = usize::try_from(current - step).unwrap_or(0);
            if age >= Published::STEPS {
                return false;
            }
            counts.resize(counts.len().max(age + 1), 0);
            counts[age] += count;
            true
        });
        counts
    }
}

fn step(at: i64) -> i64 {
    at.div_euclid(Published::STEP_MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bookings_are_counted_by_the_age_of_their_tickets_and_forgotten_after_a_second() {
        let mut recent = RecentBookings::default();
        for issued_at in [2_013, 1_004, 2_010, 1_999, 2_019, 1_998] {
            recent.add(issued_at);
        }
        assert_eq!(recent.counts(2_019), [3, 0, 2]);
        assert_eq!(recent.counts(2_020), [0, 3, 0, 2]);
        assert_eq!(recent.counts(4_000), [0; 0]);
    }

    #[test]
    fn a_clock_that_is_set_back_counts_the_bookings_as_the_latest() {
        let mut recent = RecentBookings::default();
        (0..2_000).for_each(|millis| recent.add(millis));
        assert_eq!(recent.counts(900).iter().sum::<u64>(), 1_000);
    }
}
