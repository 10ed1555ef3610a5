//! Compares the counts with what is in the queue.
//!
//! The counts drift if an announcement is lost, if a message leaves or enters the queue in another way (an operator, an
//! earlier version), or if a batch was settled twice. A single comparison proves nothing: the length of the queue and
//! the heartbeats are up to a second old, and messages move between the two. A difference that lasts is corrected.

use std::collections::VecDeque;

/// A difference must be found in this many comparisons in a row before it is corrected.
const LASTS: usize = 3;

/// The differences that were found last.
#[derive(Debug, Default)]
pub struct Discrepancies(VecDeque<Discrepancy>);

/// Each is positive, zero or negative.
#[derive(Clone, Copy, Debug)]
pub struct Discrepancy {
    /// How many bookings more than counted are in the queue.
    pub uncounted: i64,
    /// How many bookings fewer than counted are in the queue.
    pub missing: i64,
}

/// What to correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Correction {
    Arrived(i64),
    Departed(i64),
}

impl Discrepancies {
    /// Records a comparison. Returns the difference that has lasted, if any.
    pub fn record(&mut self, found: Discrepancy) -> Option<Correction> {
        self.0.push_back(found);
        if self.0.len() > LASTS {
            self.0.pop_front();
        }
        if self.0.len() < LASTS {
            return None;
        }
        let (uncounted, missing) = self
            .0
            .iter()
            .map(|found| (found.uncounted, found.missing))
            .reduce(|(uncounted, missing), found| (uncounted.min(found.0), missing.min(found.1)))?;
        let correction = if missing > 0 {
            Correction::Departed(missing)
        } else if uncounted > 0 {
            Correction::Arrived(uncounted)
        } else {
            return None;
        };
        self.0.clear();
        Some(correction)
    }

    /// What workers hold is uncertain at the moment.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(discrepancies: &mut Discrepancies, uncounted: i64) -> Option<Correction> {
        discrepancies.record(Discrepancy { uncounted, missing: -uncounted })
    }

    #[test]
    fn only_a_difference_that_lasts_is_corrected_and_by_its_smallest_value() {
        let mut discrepancies = Discrepancies::default();
        let found = [5, 9, 0, 7, 8, 6, 4].map(|uncounted| record(&mut discrepancies, uncounted));
        assert_eq!(found, [None, None, None, None, None, Some(Correction::Arrived(6)), None]);
        let found = [-3, -2, -7].map(|uncounted| record(&mut discrepancies, uncounted));
        assert_eq!(found, [None, None, Some(Correction::Departed(2))]);
    }

    #[test]
    fn uncertain_times_start_the_comparison_again() {
        let mut discrepancies = Discrepancies::default();
        assert_eq!([5, 5].map(|uncounted| record(&mut discrepancies, uncounted)), [None, None]);
        discrepancies.clear();
        assert_eq!(record(&mut discrepancies, 5), None);
    }
}
