//! The processor time of work, which does not grow while it waits for a processor.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Does the work on this thread. Returns how much processor time that took.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = of_this_thread();
    let result = work();
    (result, of_this_thread().saturating_sub(before))
}

fn of_this_thread() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock").into()
}
