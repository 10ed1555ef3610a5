//! One concert's seat map that clients of this instance watch or ask for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::database::Database;
use hamro_shared::domain::{ConcertId, SeatId};
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

use super::layout_version::LayoutVersion;
use super::reconciliation::{AvailableSeats, Reconciliation};
use super::seat_map_state::{SeatMapState, Subscription};
use super::seat_table::SeatTable;
use super::stored_seats::{Found, ReadPoint, StoredSeats};
use super::version::SeatMapVersion;

pub struct WatchedSeatMap {
    pub concert: ConcertId,
    /// Whether the concert exists; empty until the seats have been read for the first time.
    concert_exists: OnceCell<bool>,
    /// Held while the seats are read.
    reading: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

struct State {
    seat_map: SeatMapState,
    reconciliation: Reconciliation,
    stored: Option<Stored>,
    /// When this instance last learned of a change of the seats.
    changed_at: Instant,
    /// When the latest comparison with the database began that found no change, or led to a read.
    verified_at: Instant,
    /// Whether a comparison has failed since.
    is_failing: bool,
    last_used: Instant,
    /// How many reads have begun: each table has the number of its own.
    reads: u64,
}

/// The seats as they were stored when they were read.
struct Stored {
    table: Arc<SeatTable>,
    point: ReadPoint,
    /// When the read began.
    read_at: Instant,
}

/// Reads seats, two concerts at a time: other requests need the sessions of the pool too.
pub struct SeatReader {
    database: Database,
    turns: Semaphore,
}

/// The free and the booked seats of a concert, at one moment.
pub struct SeatStatus {
    pub layout_version: LayoutVersion,
    pub total: usize,
    pub available: usize,
    pub booked: Vec<u8>,
    /// The events after this one contain all later changes.
    pub last_event_id: String,
    pub revision: u64,
}

impl SeatReader {
    const CONCERTS_AT_ONCE: usize = 2;

    pub fn new(database: Database) -> Self {
        Self { database, turns: Semaphore::new(Self::CONCERTS_AT_ONCE) }
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The seats that have changed since `since`, or all seats.
    async fn read(
        &self,
        concert: ConcertId,
        since: Option<ReadPoint>,
        revision: u64,
    ) -> Result<StoredSeats, sqlx::Error> {
        let _turn = self.turns.acquire().await;
        let reading = self.database.query_large(move |connection| {
            let since = since.clone();
            Box::pin(async move {
                match since {
                    Some(since) => StoredSeats::load_since(connection, concert, &since, revision).await,
                    None => StoredSeats::load(connection, concert, revision).await,
                }
            })
        });
        reading.await
    }
}

impl WatchedSeatMap {
    pub fn new(concert: ConcertId) -> Self {
        let now = Instant::now();
        let state = State {
            seat_map: SeatMapState::new(rand::random()),
            reconciliation: Reconciliation::new(now),
            stored: None,
            changed_at: now,
            verified_at: now,
            is_failing: false,
            last_used: now,
            reads: 0,
        };
        Self {
            concert,
            concert_exists: OnceCell::new(),
            reading: tokio::sync::Mutex::default(),
            state: Mutex::new(state),
        }
    }

    /// Reads the seats if they have never been read. Concurrent callers share one read. Returns whether the concert exists.
    pub async fn ensure_loaded(&self, reader: &SeatReader) -> Result<bool, sqlx::Error> {
        self.concert_exists.get_or_try_init(|| self.read(reader, Instant::now())).await.copied()
    }

    pub fn is_loaded(&self) -> bool {
        self.concert_exists.initialized()
    }

    /// Reads what has changed, unless another caller has begun to at `since` or later, and broadcasts it. Returns whether
    /// the concert exists.
    pub async fn read(&self, reader: &SeatReader, since: Instant) -> Result<bool, sqlx::Error> {
        let _turn = self.reading.lock().await;
        if self.read_at().is_some_and(|read_at| read_at >= since) {
            return Ok(true);
        }
        let _abort_when_dropped = AbortReload(self);
        let (point, revision) = self.begin_read();
        let mut started_at = Instant::now();
        let mut read = reader.read(self.concert, point, revision).await?;
        if !self.can_apply(&read.found) {
            started_at = Instant::now();
            read = reader.read(self.concert, None, revision).await?;
        }
        Ok(self.apply(read, started_at))
    }

    fn begin_read(&self) -> (Option<ReadPoint>, u64) {
        let mut state = self.state();
        state.seat_map.begin_reload();
        state.reads += 1;
        // A concert without seats may have been deleted: reading all seats tells.
        let stored = state.stored.as_ref().filter(|stored| stored.table.total() > 0);
        (stored.map(|stored| stored.point.clone()), state.reads)
    }

    /// Whether the table can be brought up to date by what was found. Otherwise all seats have to be read.
    fn can_apply(&self, found: &Found) -> bool {
        let Found::Changes { changed, count, revision } = found else { return true };
        match &mut self.state().stored {
            // It is copied if a document is being made of it.
            Some(stored) => {
                stored.table.total() == *count && Arc::make_mut(&mut stored.table).replace(changed, *revision)
            }
            None => false,
        }
    }

    fn apply(&self, read: StoredSeats, read_at: Instant) -> bool {
        let StoredSeats { point, version, found } = read;
        let mut state = self.state();
        let table = match (found, &state.stored) {
            (Found::All(table), _) => Arc::new(table),
            (Found::Changes { .. }, Some(stored)) => stored.table.clone(),
            (Found::Changes { .. }, None) | (Found::NoConcert, _) => return false,
        };
        if table.revision() == state.reads {
            // Nobody may have announced it, so documents of earlier reads are outdated.
            state.changed_at = state.changed_at.max(read_at);
        }
        let booked = table.booked();
        let available = booked.available();
        state.seat_map.apply_reload(booked, table.layout_version());
        state.seat_map.broadcast_changes();
        state.reconciliation.record_load(version, available, read_at);
        state.stored = Some(Stored { table, point, read_at });
        state.verified_at = state.verified_at.max(read_at);
        state.is_failing = false;
        true
    }

    /// Makes the next read one of all seats.
    pub fn forget_stored(&self) {
        self.state().stored = None;
    }

    pub fn available(&self) -> usize {
        self.state().seat_map.available()
    }

    /// Whether the map has missed a change. `version` is the database's, and `available_before` how many seats were
    /// available here before it was queried, at `compared_at`.
    pub fn needs_reload(
        &self,
        version: SeatMapVersion,
        available_before: usize,
        compared_at: Instant,
    ) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        if !state.reconciliation.has_loaded(&version)
            && state.stored.as_ref().is_none_or(|stored| stored.read_at < compared_at)
        {
            state.changed_at = now;
        }
        let available =
            AvailableSeats { before_query: available_before, after_query: state.seat_map.available() };
        let needs_reload = state.reconciliation.needs_reload(version, available, now);
        if !needs_reload {
            state.verified_at = state.verified_at.max(compared_at);
            state.is_failing = false;
        }
        needs_reload
    }

    /// Records that the map could not be compared with the database, or not read.
    pub fn record_failure(&self) {
        self.state().is_failing = true;
    }

    /// How long ago the comparison began that verified the map last, and whether one has failed since.
    pub fn verified(&self) -> (Duration, bool) {
        let state = self.state();
        (state.verified_at.elapsed(), state.is_failing)
    }

    /// Applies an announced sale.
    pub fn mark_sold(&self, seats: &[SeatId]) {
        self.state().announce(|seat_map| seat_map.mark_sold(seats));
    }

    /// Applies an announced release.
    pub fn mark_freed(&self, seats: &[SeatId]) {
        self.state().announce(|seat_map| seat_map.mark_freed(seats));
    }

    /// When this instance last learned of a change of the seats.
    pub fn changed_at(&self) -> Instant {
        self.state().changed_at
    }

    /// The seats as they were stored, and when they were read.
    pub fn stored(&self) -> Option<(Arc<SeatTable>, Instant)> {
        self.state().stored.as_ref().map(|stored| (stored.table.clone(), stored.read_at))
    }

    pub fn read_at(&self) -> Option<Instant> {
        self.state().stored.as_ref().map(|stored| stored.read_at)
    }

    pub fn layout_version(&self) -> LayoutVersion {
        self.state().seat_map.layout_version()
    }

    /// Differs whenever [`status`](Self::status) does.
    pub fn revision(&self) -> u64 {
        self.state().seat_map.revision()
    }

    pub fn status(&self) -> SeatStatus {
        let state = self.state();
        let seat_map = &state.seat_map;
        SeatStatus {
            layout_version: seat_map.layout_version(),
            total: seat_map.booked().total(),
            available: seat_map.available(),
            booked: seat_map.booked().bits().to_vec(),
            last_event_id: seat_map.last_event_id(),
            revision: seat_map.revision(),
        }
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

    /// About how much memory the seats take.
    pub fn bytes(&self) -> usize {
        let state = self.state();
        let table = state.stored.as_ref().map_or(0, |stored| stored.table.bytes());
        table + state.seat_map.booked().bytes()
    }

    /// Ends the streams of all subscribers.
    pub fn close(&self) {
        self.state().seat_map.close();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn announce(&mut self, announce: impl FnOnce(&mut SeatMapState)) {
        let revision = self.seat_map.revision();
        announce(&mut self.seat_map);
        if self.seat_map.revision() != revision {
            self.changed_at = Instant::now();
        }
    }
}

/// Ends a reload that fails, or whose caller is gone. Changes nothing if it has been applied.
struct AbortReload<'m>(&'m WatchedSeatMap);

impl Drop for AbortReload<'_> {
    fn drop(&mut self) {
        self.0.state().seat_map.abort_reload();
    }
}
