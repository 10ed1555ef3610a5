//! The clock by which comparisons with the database age. It runs on while the machine is suspended, which `Instant` does not:
//! after a resumption, what was compared before it must be old.

use std::time::Duration;

use nix::time::ClockId;

/// The time since the machine was started. `None` if the clock cannot be read: then nothing is rejected early.
pub fn now() -> Option<Duration> {
    ClockId::CLOCK_BOOTTIME.now().ok().map(Duration::from)
}
