//! One concert's seat map that clients of this instance watch or ask for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::{ConcertId, SeatId};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::latest_read::{Applied, LatestRead};
use super::layout_version::LayoutVersion;
use super::reconciliation::{AvailableSeats, Reconciliation};
use super::seat_map_state::{SeatMapState, Subscription};
use super::seat_reader::SeatReader;
use super::seat_table::SeatTable;
use super::stored_seats::{ReadPoint, StoredSeats};
use super::version::SeatMapVersion;

pub struct WatchedSeatMap {
    pub concert: ConcertId,
    /// Whether the concert exists; empty until the seats have been read for the first time.
    concert_exists: OnceCell<bool>,
    /// Held while the seats are read.
    reading: tokio::sync::Mutex<()>,
    /// Whether a reload waits for its turn, or reads.
    is_reloading: AtomicBool,
    /// How many event streams are open.
    streams: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    seat_map: SeatMapState,
    reconciliation: Reconciliation,
    latest_read: LatestRead,
    /// When this instance last learned of a change of the seats.
    changed_at: Instant,
    /// When the latest comparison with the database began that found no change, or led to a read.
    verified_at: Instant,
    /// Whether a comparison has failed since.
    is_failing: bool,
    last_used: Instant,
}

/// Whether a seat map is known to be what the database has.
pub struct Verification {
    /// How long ago the comparison began that verified it last.
    pub age: Duration,
    /// Whether one has failed since.
    pub is_failing: bool,
}

/// The free and the booked seats of a concert, at one moment.
pub struct CurrentSeats {
    pub layout_version: LayoutVersion,
    pub total: usize,
    pub available: usize,
    /// A bit for each seat, in the order of their ids.
    pub booked: Vec<u8>,
    /// The events after this one contain all later changes.
    pub last_event_id: String,
    pub revision: u64,
}

impl WatchedSeatMap {
    pub fn new(concert: ConcertId) -> Self {
        let now = Instant::now();
        let state = State {
            seat_map: SeatMapState::new(rand::random()),
            reconciliation: Reconciliation::new(now),
            latest_read: LatestRead::default(),
            changed_at: now,
            verified_at: now,
            is_failing: false,
            last_used: now,
        };
        Self {
            concert,
            concert_exists: OnceCell::new(),
            reading: tokio::sync::Mutex::default(),
            is_reloading: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
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
        let (mut point, mut revision) = self.begin_read();
        loop {
            let read_at = Instant::now();
            let read = reader.read(self.concert, point.take(), revision).await?;
            // Not in the `match`, which would hold the lock.
            let applied = self.state().apply_read(read, read_at);
            match applied {
                Applied::Table { .. } => return Ok(true),
                Applied::NoConcert => return Ok(false),
                // Its table may already differ from the one that documents were made of: it needs another revision.
                Applied::AllNeeded => revision = self.state().latest_read.begin_all(),
            }
        }
    }

    fn begin_read(&self) -> (Option<ReadPoint>, u64) {
        let mut state = self.state();
        state.seat_map.begin_reload();
        state.latest_read.begin()
    }

    /// Begins a reload, unless one has begun already. It ends when what is returned is dropped.
    pub fn begin_reload(self: &Arc<Self>) -> Option<Reload> {
        let is_first = !self.is_reloading.swap(true, Ordering::AcqRel);
        is_first.then(|| Reload { seat_map: self.clone() })
    }

    /// Opens an event stream. It is open until what is returned is dropped.
    pub fn open_stream(self: &Arc<Self>) -> OpenStream {
        self.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream { seat_map: self.clone() }
    }

    pub fn has_streams(&self) -> bool {
        self.streams.load(Ordering::Relaxed) > 0
    }

    /// Makes the next read one of all seats.
    pub fn forget_stored(&self) {
        self.state().latest_read.forget();
    }

    /// The seats as they were stored, and when they were read.
    pub fn stored(&self) -> Option<(Arc<SeatTable>, Instant)> {
        self.state().latest_read.stored()
    }

    pub fn read_at(&self) -> Option<Instant> {
        self.state().latest_read.read_at()
    }

    /// Compares the map with the database. Returns whether it has missed a change, and so has to be read. `version` is the
    /// database's, and `available_before` how many seats were available here before it was queried, at `compared_at`.
    pub fn compare(&self, version: SeatMapVersion, available_before: usize, compared_at: Instant) -> bool {
        self.state().compare(version, available_before, compared_at)
    }

    /// Records that the map could not be compared with the database, or not read.
    pub fn record_failure(&self) {
        self.state().is_failing = true;
    }

    pub fn verification(&self) -> Verification {
        let state = self.state();
        Verification { age: state.verified_at.elapsed(), is_failing: state.is_failing }
    }

    /// When this instance last learned of a change of the seats.
    pub fn changed_at(&self) -> Instant {
        self.state().changed_at
    }

    /// Applies an announced sale.
    pub fn mark_sold(&self, seats: &[SeatId]) {
        self.state().announce(|seat_map| seat_map.mark_sold(seats));
    }

    /// Applies an announced release.
    pub fn mark_freed(&self, seats: &[SeatId]) {
        self.state().announce(|seat_map| seat_map.mark_freed(seats));
    }

    pub fn available(&self) -> usize {
        self.state().seat_map.available()
    }

    pub fn layout_version(&self) -> LayoutVersion {
        self.state().seat_map.layout_version()
    }

    /// Differs whenever [`current`](Self::current) does.
    pub fn revision(&self) -> u64 {
        self.state().seat_map.revision()
    }

    pub fn current(&self) -> CurrentSeats {
        let state = self.state();
        let seat_map = &state.seat_map;
        CurrentSeats {
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

    /// Whether the version of the concert is known.
    pub fn has_catalogue_version(&self) -> bool {
        self.state().seat_map.has_catalogue_version()
    }

    /// Tells the subscribers the version of the concert, if it has changed.
    pub fn set_catalogue_version(&self, version: String) {
        self.state().seat_map.set_catalogue_version(version);
    }

    /// `None` if the map has been closed.
    pub fn subscribe(&self, last_event_id: Option<&str>) -> Option<Subscription> {
        self.state().seat_map.subscribe(last_event_id)
    }

    /// Ends the streams of all subscribers.
    pub fn close(&self) {
        self.state().seat_map.close();
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
        state.latest_read.bytes() + state.seat_map.booked().bytes()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Applies what a read has found that began at `read_at`, and broadcasts it.
    fn apply_read(&mut self, read: StoredSeats, read_at: Instant) -> Applied {
        let StoredSeats { point, version, found } = read;
        let applied = self.latest_read.apply(found, point, read_at);
        if let Applied::Table { table, is_changed } = &applied {
            if *is_changed {
                // Nobody may have announced it, so documents of earlier reads are outdated.
                self.changed_at = self.changed_at.max(read_at);
            }
            let booked = table.booked();
            self.reconciliation.record_load(version, booked.available(), read_at);
            self.seat_map.apply_reload(booked, table.layout_version());
            self.seat_map.broadcast_changes();
            self.record_verified(read_at);
        }
        applied
    }

    fn compare(&mut self, version: SeatMapVersion, available_before: usize, compared_at: Instant) -> bool {
        let now = Instant::now();
        let is_read_since = self.latest_read.read_at().is_some_and(|read_at| read_at >= compared_at);
        if !self.reconciliation.has_loaded(&version) && !is_read_since {
            self.changed_at = now;
        }
        let available =
            AvailableSeats { before_query: available_before, after_query: self.seat_map.available() };
        let needs_reload = self.reconciliation.needs_reload(version, available, now);
        if !needs_reload {
            self.record_verified(compared_at);
        }
        needs_reload
    }

    fn record_verified(&mut self, at: Instant) {
        self.verified_at = self.verified_at.max(at);
        self.is_failing = false;
    }

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

/// A reload of a seat map that has missed a change.
pub struct Reload {
    pub seat_map: Arc<WatchedSeatMap>,
}

impl Drop for Reload {
    fn drop(&mut self) {
        self.seat_map.is_reloading.store(false, Ordering::Release);
    }
}

/// An open event stream.
pub struct OpenStream {
    pub seat_map: Arc<WatchedSeatMap>,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.seat_map.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
