//! What early rejection counts.

use hamro_shared::domain::Rejection;
use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{Counter, Family, MetricsRegistry};

use super::EarlyRejection;
use super::concert::Outdated;

pub struct EarlyRejectionMetrics {
    rejected: Family<EarlyCode, Counter>,
    pub comparisons: Counter,
    pub loads: Counter,
    leases_ended: Family<LeaseEnd, Counter>,
}

metric_labels! {
    pub struct EarlyCode {
        /// The code of the problem document.
        code,
    }
}

metric_labels! {
    pub struct LeaseEnd {
        /// `freed`, `restored` or `session`.
        cause,
    }
}

impl EarlyRejectionMetrics {
    pub fn register(registry: &mut MetricsRegistry) -> Self {
        Self {
            rejected: registry.counters(
                "early_rejections",
                "Bookings that were rejected at once because their seats were known to be sold, by the code of the problem",
            ),
            comparisons: registry.counter(
                "early_rejection_comparisons",
                "Queries that compare whether seats of the known concerts were freed",
            ),
            loads: registry
                .counter("early_rejection_loads", "Times that the sold seats of a concert were read for early rejection"),
            leases_ended: registry.counters(
                "early_rejection_leases_ended",
                "Times that what was known about the seats of a concert was found to be outdated, by cause: `freed` (seats were \
                 freed, added or removed), `restored` (the database was restored) or `session` (a new database session)",
            ),
        }
    }

    pub fn count(&self, rejection: &Rejection) {
        self.rejected.get_or_create(&EarlyCode { code: rejection.code() }).inc();
    }

    pub fn count_outdated(&self, cause: Outdated) {
        match cause {
            Outdated::Freed => self.count_ended("freed", 1),
            Outdated::Restored => self.count_ended("restored", 1),
            // The lease goes on.
            Outdated::Missed => {}
        }
    }

    /// All that was known is forgotten, because the database session is another one.
    pub fn count_forgotten(&self, concerts: usize) {
        self.count_ended("session", concerts as u64);
    }

    fn count_ended(&self, cause: &'static str, concerts: u64) {
        self.leases_ended.get_or_create(&LeaseEnd { cause }).inc_by(concerts);
    }
}

/// Exports what an instance holds.
#[expect(clippy::cast_precision_loss, reason = "metrics")]
pub fn register_state(early_rejection: &EarlyRejection, registry: &mut MetricsRegistry) {
    let state = early_rejection.clone();
    registry.read_gauge(
        "early_rejection_concerts",
        "Concerts whose sold seats are known for early rejection",
        move || Some(state.concerts().iter().count() as f64),
    );
    let state = early_rejection.clone();
    registry.read_gauge(
        "early_rejection_bytes",
        "Memory of what is known about sold seats, in bytes",
        move || Some(state.concerts().bytes() as f64),
    );
}
