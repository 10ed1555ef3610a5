//! The workers, as their heartbeats describe them.

use std::collections::HashMap;
use std::time::Duration;

use hamro_shared::queue::{HEARTBEAT_AFTER_CHANGE, HEARTBEAT_EVERY, SILENT_AFTER, WorkerState};
use tokio::time::Instant;
use uuid::Uuid;

/// After this long without a heartbeat, what a worker holds is uncertain.
const LATE_AFTER: Duration =
    HEARTBEAT_EVERY.saturating_add(HEARTBEAT_AFTER_CHANGE).saturating_add(Duration::from_millis(250));
/// After this long, the broker has closed the connection of a worker that is frozen or cut off, and has returned what it
/// held to the queue.
const HOLDS_NOTHING_AFTER: Duration = Duration::from_secs(35);

#[derive(Debug, Default)]
pub struct Workers(HashMap<Uuid, (WorkerState, Instant)>);

impl Workers {
    pub fn on_heartbeat(&mut self, worker: Uuid, state: WorkerState, now: Instant) {
        if state.stopped {
            self.0.remove(&worker);
        } else {
            self.0.insert(worker, (state, now));
        }
        self.0.retain(|_, (_, heard_at)| now.duration_since(*heard_at) < HOLDS_NOTHING_AFTER);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The number of workers that consume the queue.
    pub fn alive(&self, now: Instant) -> usize {
        self.consuming(now).count()
    }

    /// How many bookings they settle per second while they have any. `None` if none has settled any yet.
    pub fn rate(&self, now: Instant) -> Option<f64> {
        self.consuming(now).filter_map(|worker| worker.rate).reduce(|a, b| a + b)
    }

    /// How many bookings workers hold. `None` while that is uncertain: a worker that is killed no longer holds what it
    /// held, and one that is frozen still does.
    pub fn held_bookings(&self, now: Instant) -> Option<u64> {
        let held =
            self.0.values().filter(|(_, heard_at)| now.duration_since(*heard_at) < HOLDS_NOTHING_AFTER);
        held.map(|(worker, heard_at)| (now.duration_since(*heard_at) < LATE_AFTER).then_some(worker.bookings))
            .sum()
    }

    fn consuming(&self, now: Instant) -> impl Iterator<Item = &WorkerState> {
        let alive = self.0.values().filter(move |(_, heard_at)| now.duration_since(*heard_at) < SILENT_AFTER);
        alive.map(|(worker, _)| worker).filter(|worker| worker.consuming)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holding(bookings: u64, rate: Option<f64>) -> WorkerState {
        WorkerState { consuming: true, bookings, rate, ..WorkerState::default() }
    }

    #[test]
    fn a_worker_counts_until_it_is_silent_or_has_said_that_it_stops() {
        let (mut workers, now) = (Workers::default(), Instant::now());
        assert_eq!((workers.alive(now), workers.rate(now), workers.held_bookings(now)), (0, None, Some(0)));
        workers.on_heartbeat(Uuid::from_u128(1), holding(300, Some(100.0)), now);
        workers.on_heartbeat(Uuid::from_u128(2), holding(5, None), now);
        workers.on_heartbeat(Uuid::from_u128(3), WorkerState::default(), now);
        assert_eq!((workers.alive(now), workers.rate(now)), (2, Some(100.0)));
        assert_eq!(workers.held_bookings(now), Some(305));
        let later = now + SILENT_AFTER;
        assert_eq!((workers.alive(later), workers.held_bookings(later)), (0, None));
        assert_eq!(workers.held_bookings(now + HOLDS_NOTHING_AFTER), Some(0));
        let stopped = WorkerState { stopped: true, ..WorkerState::default() };
        workers.on_heartbeat(Uuid::from_u128(1), stopped, now);
        assert_eq!((workers.alive(now), workers.held_bookings(now)), (1, Some(5)));
    }
}
