//! Seats that another session keeps locked for longer than the lock timeout.
//!
//! A backup, or an operator's console, may lock a seat for minutes. Waiting for it would stop the sale of all other
//! seats. So once a wait has timed out, bookings of locked seats are deferred and the others are settled. The seat is
//! remembered, so that later batches check without waiting whether it is still locked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::SeatId;
use tokio::time::Instant;

use crate::readiness::Readiness;

/// A seat that is locked for this long needs an operator.
const ALERT_AFTER: Duration = Duration::from_secs(10);

/// How long readiness reports it after the seat was last found locked. Deferred bookings are retried more often than
/// this.
const ALERT_FOR: Duration = Duration::from_secs(5);

/// A seat that no booking has requested in this time is forgotten. The next booking waits for its lock as usual.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// Shared by all executors of the process.
#[derive(Clone)]
pub struct StuckSeats {
    seats: Arc<Mutex<HashMap<SeatId, Stuck>>>,
    readiness: Readiness,
}

struct Stuck {
    since: Instant,
    last_found: Instant,
}

impl StuckSeats {
    pub fn new(readiness: Readiness) -> Self {
        Self { seats: Arc::default(), readiness }
    }

    /// Those of the seats that were locked at the last attempt.
    pub fn among(&self, ids: &[SeatId]) -> Vec<SeatId> {
        self.among_at(ids, Instant::now())
    }

    fn among_at(&self, ids: &[SeatId], now: Instant) -> Vec<SeatId> {
        let mut seats = self.seats();
        if seats.is_empty() {
            return Vec::new();
        }
        seats.retain(|_, stuck| now.duration_since(stuck.last_found) < FORGET_AFTER);
        ids.iter().copied().filter(|id| seats.contains_key(id)).collect()
    }

    /// Remembers those of the `tried` seats that are `held` by another session, and forgets the others.
    pub fn tried(&self, tried: &[SeatId], held: &[SeatId]) {
        self.tried_at(tried, held, Instant::now());
    }

    fn tried_at(&self, tried: &[SeatId], held: &[SeatId], now: Instant) {
        let mut seats = self.seats();
        for id in tried {
            if held.contains(id) {
                seats.entry(*id).or_insert(Stuck { since: now, last_found: now }).last_found = now;
            } else {
                seats.remove(id);
            }
        }
        if seats.values().any(|stuck| now.duration_since(stuck.since) > ALERT_AFTER) {
            let reason = "another database session has held a seat lock for more than 10 s";
            self.readiness.set_not_ready_for(ALERT_FOR, reason);
        } else {
            self.readiness.set_ready();
        }
    }

    fn seats(&self) -> MutexGuard<'_, HashMap<SeatId, Stuck>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for StuckSeats {
    fn default() -> Self {
        Self::new(Readiness::ready())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stuck_seat_is_remembered_until_it_is_locked_or_no_longer_requested() {
        let readiness = Readiness::ready();
        let seats = StuckSeats::new(readiness.clone());
        let begin = Instant::now();
        let [one, two, three] = [1, 2, 3].map(SeatId);
        assert!(seats.among_at(&[one, two], begin).is_empty());
        seats.tried_at(&[one, two, three], &[one, two], begin);
        assert_eq!(seats.among_at(&[one, two, three], begin), [one, two]);
        assert_eq!(readiness.reason(), None, "it was found a moment ago");
        let later = begin + ALERT_AFTER + Duration::from_secs(1);
        seats.tried_at(&[one, two], &[one], later);
        assert_eq!(seats.among_at(&[one, two, three], later), [one]);
        assert!(readiness.reason().is_some());
        assert!(seats.among_at(&[one], later + FORGET_AFTER).is_empty());
    }
}
