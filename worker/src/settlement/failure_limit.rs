//! Limits how many bookings may fail alone in a row.
//!
//! One booking that fails alone may be unusual. Several in a row, without a sale in between, mean that the system is at
//! fault, and no further booking may fail because of it. Only a sale proves that the system works: a rejection or an
//! expiry uses little of what a sale needs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const LIMIT: u32 = 3;

/// Shared by all executors of the process, which count together.
#[derive(Clone, Debug, Default)]
pub struct FailureLimit(Arc<AtomicU32>);

impl FailureLimit {
    /// Counts one more booking that is about to fail or be set aside. Returns `false`, and counts nothing, at the
    /// limit.
    pub fn try_count_failure(&self) -> bool {
        let one_more = |count: u32| (count < LIMIT).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Call this after a sale.
    pub fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_executors_together_may_fail_three_bookings_until_a_sale_resets_the_limit() {
        let limit = FailureLimit::default();
        let other_executor = limit.clone();
        assert!(limit.try_count_failure());
        assert!(other_executor.try_count_failure());
        assert!(limit.try_count_failure());
        assert!(!limit.try_count_failure());
        assert!(!other_executor.try_count_failure());
        other_executor.reset();
        assert!(limit.try_count_failure());
    }
}
