//! How many lines a program has logged: for its metrics. Lines that are suppressed or dropped count too, so an alert does not
//! depend on whether the log can be written.

use std::sync::atomic::{AtomicU64, Ordering};

use tracing::Level;

/// Counts since the start of the program.
#[derive(Default)]
pub(super) struct LineCounts {
    error: AtomicU64,
    warn: AtomicU64,
    info: AtomicU64,
    suppressed: AtomicU64,
}

impl LineCounts {
    /// The levels that are counted, as [`Self::by_level`] returns them.
    pub const LEVELS: [&str; 3] = ["error", "warn", "info"];

    /// Counts a line at INFO or above.
    pub fn count(&self, level: Level) {
        let count = match level {
            Level::ERROR => &self.error,
            Level::WARN => &self.warn,
            _ => &self.info,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub fn count_suppressed(&self) {
        self.suppressed.fetch_add(1, Ordering::Relaxed);
    }

    pub fn by_level(&self) -> [u64; 3] {
        [&self.error, &self.warn, &self.info].map(|count| count.load(Ordering::Relaxed))
    }

    pub fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }
}
