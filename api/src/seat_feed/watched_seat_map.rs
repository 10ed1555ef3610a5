//! One concert's seat map that clients of this instance watch.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::database::Database;
use hamro_shared::domain::{ConcertId, SeatId};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::reconciliation::{AvailableSeats, Reconciliation};
use super::seat_map_state::{SeatMapState, Subscription};
use super::stored_seats::StoredSeats;
use super::version::SeatMapVersion;

pub struct WatchedSeatMap {
    pub concert: ConcertId,
    /// Whether the concert exists; empty until the seats have been loaded for the first time.
    concert_exists: OnceCell<bool>,
    state: Mutex<State>,
}

struct State {
    seat_map: SeatMapState,
    reconciliation: Reconciliation,
    last_used: Instant,
}

impl WatchedSeatMap {
    pub fn new(concert: ConcertId) -> Self {
        let now = Instant::now();
        let state = State {
            seat_map: SeatMapState::new(rand::random()),
            reconciliation: Reconciliation::new(now),
            last_used: now,
        };
        Self { concert, concert_exists: OnceCell::new(), state: Mutex::new(state) }
    }

    /// Loads the seats if necessary. Concurrent callers share one load. Returns whether the concert exists.
    pub async fn ensure_loaded(&self, database: &Database) -> Result<bool, sqlx::Error> {
        self.concert_exists.get_or_try_init(|| self.load(database)).await.copied()
    }

    pub fn is_loaded(&self) -> bool {
        self.concert_exists.initialized()
    }

    /// Loads all seats and broadcasts what has changed. Returns whether the concert exists. If this fails or is
    /// dropped, call [`abort_load`](Self::abort_load).
    pub async fn load(&self, database: &Database) -> Result<bool, sqlx::Error> {
        self.state().seat_map.begin_reload();
        let started_at = Instant::now();
        let concert = self.concert;
        let loading =
            database.query_large(move |connection| Box::pin(StoredSeats::load(connection, concert)));
        let StoredSeats { concert_exists, version, booked_by_seat } = loading.await?;
        let available = booked_by_seat.values().filter(|is_booked| !**is_booked).count();
        let mut state = self.state();
        state.seat_map.apply_reload(booked_by_seat);
        state.seat_map.broadcast_changes();
        state.reconciliation.record_load(version, available, started_at);
        Ok(concert_exists)
    }

    pub fn abort_load(&self) {
        self.state().seat_map.abort_reload();
    }

    pub fn available(&self) -> usize {
        self.state().seat_map.available()
    }

    /// Whether the map has missed a change. `version` is the database's, and `available_before` how many seats were
    /// available here before it was queried.
    pub fn needs_reload(&self, version: SeatMapVersion, available_before: usize) -> bool {
        let mut state = self.state();
        let available =
            AvailableSeats { before_query: available_before, after_query: state.seat_map.available() };
        state.reconciliation.needs_reload(version, available, Instant::now())
    }

    /// Applies an announced sale.
    pub fn mark_sold(&self, seats: &[SeatId]) {
        self.state().seat_map.mark_sold(seats);
    }

    /// Applies an announced release.
    pub fn mark_freed(&self, seats: &[SeatId]) {
        self.state().seat_map.mark_freed(seats);
    }

    pub fn broadcast_changes(&self) {
        self.state().seat_map.broadcast_changes();
    }

    /// `None` if the map has been closed.
    pub fn subscribe(&self, last_event_id: Option<&str>) -> Option<Subscription> {
        self.state().seat_map.subscribe(last_event_id)
    }

    pub fn record_use(&self) {
        self.state().last_used = Instant::now();
    }

    /// How long ago [`record_use`](Self::record_use) was called.
    pub fn unused_for(&self) -> Duration {
        self.state().last_used.elapsed()
    }

    /// Ends the streams of all subscribers.
    pub fn close(&self) {
        self.state().seat_map.close();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
