//! What a worker counts. docs/METRICS.md lists all metrics.
//!
//! Settlement counts what it has committed, so a redelivered booking counts once.

use hamro_shared::domain::{Outcome, SettledTicket, Timestamp};
use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::{
    BATCH_SIZES, Counter, Distribution, Family, LATENCIES, MetricsRegistry,
};

/// The counters and histograms of a worker. Clones share their counts.
#[derive(Clone)]
pub struct WorkerMetrics {
    /// Bookings that were settled, each once.
    pub settled: Family<OutcomeCode, Counter>,
    /// How long it took to settle a booking: from the issue of its ticket to the commit.
    pub settle_latency: Distribution,
    /// Bookings that were stored as dead letters.
    pub dead_letters: Family<DeadLetterCode, Counter>,
    /// The sizes of committed batches.
    pub batch_sizes: Distribution,
    /// How long committed transactions took.
    pub batch_duration: Distribution,
    /// How long transactions waited for the locks on their seats, also those that failed.
    pub lock_wait: Distribution,
    /// Attempts that failed.
    pub retries: Family<RetryCode, Counter>,
    pub deferred: Counter,
    pub set_aside: Counter,
}

metric_labels! {
    pub struct OutcomeCode {
        /// `confirmed`, `expired`, `failed`, or the code of the rejection, such as `seats-taken`.
        outcome,
    }
}

metric_labels! {
    pub struct DeadLetterCode {
        reason,
    }
}

metric_labels! {
    pub struct RetryCode {
        reason,
    }
}

impl WorkerMetrics {
    pub fn register(registry: &mut MetricsRegistry) -> Self {
        let latencies =
            |registry: &mut MetricsRegistry, name, help| registry.distribution(name, help, LATENCIES);
        Self {
            settled: registry.counters("bookings_settled", "Bookings that were settled, by outcome"),
            settle_latency: latencies(
                registry,
                "booking_settle_duration_seconds",
                "Time from the issue of the ticket to the commit of its outcome",
            ),
            dead_letters: registry
                .counters("dead_letters_stored", "Dead letters that were stored, by reason"),
            batch_sizes: registry.distribution(
                "batch_bookings",
                "Bookings and dead letters in a committed batch",
                BATCH_SIZES,
            ),
            batch_duration: latencies(
                registry,
                "batch_duration_seconds",
                "Time from the begin to the commit of a batch's transaction",
            ),
            lock_wait: latencies(
                registry,
                "batch_lock_wait_seconds",
                "Time of the statement that locks the seats of a batch, also if it failed",
            ),
            retries: registry.counters(
                "batch_retries",
                "Attempts to settle a batch that failed and were repeated, whole or split, by reason",
            ),
            deferred: registry.counter(
                "bookings_deferred",
                "Bookings that were put back because another session has locked one of their seats",
            ),
            set_aside: registry.counter(
                "bookings_set_aside",
                "Bookings that failed alone and were put back until their deadline",
            ),
        }
    }

    /// Counts tickets that were settled by a transaction that has committed at the time `now`.
    pub fn on_settled(&self, tickets: &[SettledTicket], now: Timestamp) {
        for ticket in tickets {
            self.settled.get_or_create(&OutcomeCode::of(&ticket.outcome)).inc();
            self.settle_latency.observe_duration(ticket.ticket_id.issued_at().until(now));
        }
    }

    /// Counts a dead letter that was stored.
    pub fn on_dead_letter(&self, reason: &'static str) {
        self.dead_letters.get_or_create(&DeadLetterCode { reason }).inc();
    }

    /// Counts an attempt that failed.
    pub fn on_failed(&self, reason: &'static str) {
        self.retries.get_or_create(&RetryCode { reason }).inc();
    }
}

impl Default for WorkerMetrics {
    /// Counts that are not exported.
    fn default() -> Self {
        Self::register(&mut MetricsRegistry::unexported())
    }
}

impl OutcomeCode {
    pub fn of(outcome: &Outcome) -> Self {
        Self { outcome: outcome.code() }
    }
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::{Amount, ConcertId, Rejection};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_rejection_is_counted_under_its_stored_code() {
        let seat_ids = Vec::new;
        let moment = Timestamp::from_unix_millis(0).unwrap();
        for rejection in [
            Rejection::SeatsTaken { seat_ids: seat_ids(), seats: Vec::new() },
            Rejection::SoldOut { seat_ids: seat_ids(), seats: Vec::new() },
            Rejection::SeatsNotFound { seat_ids: seat_ids(), seats: None, missing_concert_id: None },
            Rejection::SaleNotOpen { opens_at: moment },
            Rejection::SaleClosed { closed_at: moment },
            Rejection::PriceChanged { total: Amount::sum([]), expected_total: Amount::sum([]) },
            Rejection::LimitReached { concert_id: ConcertId(Uuid::nil()), limit: 1, held_seats: None },
            Rejection::IdempotencyKeyReused,
        ] {
            let stored = serde_json::to_value(&rejection).unwrap();
            assert_eq!(stored["code"], rejection.code());
        }
        let unknown = Rejection::from_stored(serde_json::json!({"code": "of-a-newer-worker"}));
        assert_eq!(OutcomeCode::of(&Outcome::Rejected { rejection: unknown }).outcome, "other");
    }
}
