//! The limit on bookings that fail alone in a row.
//!
//! One booking that fails alone may be odd. Several in a row, with no sale in between, are a sign that the system is at fault,
//! and then no further booking may suffer for it. Only a sale proves the opposite: a rejection or an expiry is settled without
//! most of what a sale needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// After so many in a row, with no sale in between, the fault is not the bookings'.
const LIMIT: u32 = 3;

/// Shared by all settlers of the process, so that each adds to the same count.
#[derive(Clone, Debug, Default)]
pub struct FailureLimit(Arc<AtomicU32>);

impl FailureLimit {
    /// Counts one more booking that is about to fail or be set aside. Returns `false`, and counts nothing, at the limit.
    pub fn allows_one_more(&self) -> bool {
        let one_more = |count: u32| (count < LIMIT).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// A booking was sold.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_permits_three_in_a_row_in_all_executors_together_and_is_released_by_a_sale() {
        let failure_limit = FailureLimit::default();
        let other_executor = failure_limit.clone();
        assert!(failure_limit.allows_one_more());
        assert!(other_executor.allows_one_more());
        assert!(failure_limit.allows_one_more());
        assert!(!failure_limit.allows_one_more());
        assert!(!other_executor.allows_one_more());
        other_executor.reset();
        assert!(failure_limit.allows_one_more());
    }
}
