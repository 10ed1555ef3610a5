//! How many sessions a program has open and uses, and how long work waits for one: for its metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metric_labels;
use crate::telemetry::metrics::{Distribution, MetricsRegistry};

metric_labels! {
    struct SessionState {
        state,
    }
}

/// The counts of some sessions. Clones share them.
#[derive(Clone, Default)]
pub struct SessionCounts(Arc<Counts>);

#[derive(Default)]
struct Counts {
    open: AtomicU64,
    in_use: AtomicU64,
    failed_to_open: AtomicU64,
    waits: Distribution,
}

/// Counts a session as open until it is dropped.
pub(super) struct SessionGuard {
    counts: SessionCounts,
    is_in_use: bool,
}

impl SessionCounts {
    /// Exports these counts. `max` is how many sessions the program may have open.
    pub fn register(&self, registry: &mut MetricsRegistry, max: u16) {
        let counts = self.clone();
        registry.read_gauges(
            "database_connections",
            "Open database connections: those that work uses (in_use), and others (idle)",
            move || {
                let (open, in_use) = (load(&counts.0.open), load(&counts.0.in_use));
                [("in_use", in_use), ("idle", (open - in_use).max(0.0))]
                    .map(|(state, value)| (SessionState { state }, value))
                    .into()
            },
        );
        registry.read_gauge(
            "database_connections_max",
            "Maximum number of database connections",
            move || Some(max.into()),
        );
        let counts = self.clone();
        registry.read_counter(
            "database_connection_failures",
            "Failed attempts to open a database connection",
            move || Some(load(&counts.0.failed_to_open)),
        );
        let help = "Time that work waited for a database connection, also in vain";
        registry.register_distribution("database_connection_wait_seconds", help, self.0.waits.clone());
    }

    /// How many sessions work uses at the moment.
    pub fn in_use(&self) -> u64 {
        self.0.in_use.load(Ordering::Relaxed)
    }

    /// Counts how long a piece of work waited for its session.
    pub fn observe_wait(&self, wait: Duration) {
        self.0.waits.observe_duration(wait);
    }

    pub(super) fn count_failure(&self) {
        self.0.failed_to_open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a session that is opened, and used at once.
    pub(super) fn open(&self) -> SessionGuard {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        let mut guard = SessionGuard { counts: self.clone(), is_in_use: false };
        guard.set_in_use(true);
        guard
    }
}

impl SessionGuard {
    pub fn set_in_use(&mut self, is_in_use: bool) {
        let in_use = &self.counts.0.in_use;
        match (self.is_in_use, is_in_use) {
            (false, true) => _ = in_use.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = in_use.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        self.is_in_use = is_in_use;
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.set_in_use(false);
        self.counts.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric")]
fn load(count: &AtomicU64) -> f64 {
    count.load(Ordering::Relaxed) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_counted_while_it_is_open_and_while_it_is_used() {
        let counts = SessionCounts::default();
        let now = || (load(&counts.0.open), load(&counts.0.in_use));
        let mut first = counts.open();
        let second = counts.open();
        first.set_in_use(false);
        first.set_in_use(false);
        assert_eq!(now(), (2.0, 1.0));
        drop(second);
        assert_eq!(now(), (1.0, 0.0));
        first.set_in_use(true);
        drop(first);
        assert_eq!(now(), (0.0, 0.0));
    }
}
