//! Seats that another session holds for longer than a worker waits for a lock.
//!
//! A backup, or somebody at a console, may hold one seat for minutes. Waiting for it would stop the sale of all others, so once
//! a wait has timed out, the bookings that want such a seat are deferred, and the others are settled. The seat is remembered, so
//! that later batches find out without waiting whether it is still held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::readiness::Readiness;

/// A seat that was held this long is worth an operator's attention.
const LONG: Duration = Duration::from_secs(10);

/// How long readiness says so after the seat was last found held: deferred bookings try again more often than this.
const STATEMENT_STANDS: Duration = Duration::from_secs(5);

/// A seat that nobody has asked for in this time is forgotten: whoever wants it next waits for its lock as ever.
const UNWANTED: Duration = Duration::from_mins(1);

/// Shared by all settlers of the process.
#[derive(Clone)]
pub struct StuckSeats {
    seats: Arc<Mutex<HashMap<i32, Stuck>>>,
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

    /// Those of the seats that were held when somebody last tried to lock them.
    pub fn among(&self, ids: &[i32]) -> Vec<i32> {
        self.among_at(ids, Instant::now())
    }

    fn among_at(&self, ids: &[i32], now: Instant) -> Vec<i32> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.is_empty() {
            return Vec::new();
        }
        seats.retain(|_, stuck| now.duration_since(stuck.last_found) < UNWANTED);
        ids.iter().copied().filter(|id| seats.contains_key(id)).collect()
    }

    /// Remembers those of the `tried` seats that are `held` by another session, and forgets the others.
    pub fn tried(&self, tried: &[i32], held: &[i32]) {
        self.tried_at(tried, held, Instant::now());
    }

    fn tried_at(&self, tried: &[i32], held: &[i32], now: Instant) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        for id in tried {
            if held.contains(id) {
                seats.entry(*id).or_insert(Stuck { since: now, last_found: now }).last_found = now;
            } else {
                seats.remove(id);
            }
        }
        if seats.values().any(|stuck| now.duration_since(stuck.since) > LONG) {
            let reason = "another session has held the lock on a seat for more than ten seconds";
            self.readiness.set_not_ready_for(STATEMENT_STANDS, reason);
        } else {
            self.readiness.set_ready();
        }
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
    fn a_stuck_seat_is_remembered_until_it_could_be_locked_or_nobody_wants_it() {
        let readiness = Readiness::ready();
        let seats = StuckSeats::new(readiness.clone());
        let begin = Instant::now();
        assert!(seats.among_at(&[1, 2], begin).is_empty());
        seats.tried_at(&[1, 2, 3], &[1, 2], begin);
        assert_eq!(seats.among_at(&[1, 2, 3], begin), [1, 2]);
        assert_eq!(readiness.reason(), None, "it has only just been found");
        let later = begin + LONG + Duration::from_secs(1);
        seats.tried_at(&[1, 2], &[1], later);
        assert_eq!(seats.among_at(&[1, 2, 3], later), [1]);
        assert!(readiness.reason().is_some());
        assert!(seats.among_at(&[1], later + UNWANTED).is_empty());
    }
}
