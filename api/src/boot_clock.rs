//! A clock that runs on while the machine is suspended, which `Instant` does not. After a resumption, what was read from the
//! database before it must be old.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The time since the machine was started.
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has this clock").into()
}

/// A moment since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootInstant(Duration);

impl BootInstant {
    pub fn now() -> Self {
        Self(since_boot())
    }

    /// The time from `earlier` until this moment.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub fn at(since_boot: Duration) -> Self {
        Self(since_boot)
    }
}
