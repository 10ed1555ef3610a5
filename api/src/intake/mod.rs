//! The controls that operators have over the intake: they pause it, or limit its rate, for the whole installation. They do the
//! same for single concerts.
//!
//! The controls are stored in Postgres ([`stored`]). Every instance reads them once a second ([`polling`]), and repeats
//! them in its heartbeats. So a change reaches the other instances at once, instances that have lost Postgres too, and an
//! instance that misses the announcement learns of it within a second.
//!
//! An instance keeps the controls that it knows while Postgres is away. One that has just started and knows none accepts
//! no bookings: the intake may be paused. It learns them from Postgres or from the first heartbeat of another instance.
//!
//! Which bookings are of a concert with controls, an instance knows by the seats ([`seats`]), which it reads from Postgres when
//! other concerts have controls or their seats may have changed.
//!
//! A limit is shared by demand: each instance takes the part of the limit that corresponds to its part of the requested
//! bookings ([`demand`]), and admits bookings at that rate ([`token_bucket`]).

mod controlled_concerts;
pub mod controls;
mod demand;
mod metrics;
mod mode;
pub mod polling;
mod seats;
mod shared_limit;
mod state;
pub mod stored;
mod token_bucket;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::{BookingRequest, ConcertId};
use hamro_shared::queue::{Heartbeat, ProcessState, Published};
use hamro_shared::telemetry::metrics::MetricsRegistry;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

pub use self::controlled_concerts::BookedConcerts;
use self::controls::Controls;
use self::mode::Mode;
use self::seats::SeatIndex;
use self::state::{Known, State};
use self::stored::{Change, StoredControls};

/// The controls count as read from Postgres for this long.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// The controls as one instance knows them. Clones share them.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

struct Inner {
    /// Identifies this instance in its heartbeats.
    process: Uuid,
    /// A [`Mode`].
    mode: AtomicU8,
    /// Whether a concert has controls. Otherwise a booking takes no lock for that.
    has_concerts: AtomicBool,
    /// Bookings that clients have requested from this instance.
    requested: AtomicU64,
    state: Mutex<State>,
    /// Notified after a change that was made on this instance.
    changed_here: Notify,
    /// Notified when other concerts have controls than before.
    concerts_changed: Notify,
}

/// The controls that an instance obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentControls {
    pub controls: Controls,
    /// Who has decided so; `None` if nobody has, or if this is not known yet.
    pub change: Option<Change>,
    /// Whether they were lately read from Postgres.
    pub is_stored: bool,
}

/// Why a booking is not admitted. A backlog is the time that it takes, at the limit, to accept what is requested in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error("the controls of the intake are not known yet")]
    NotKnown,
    #[error("the intake is paused")]
    Paused,
    #[error("the limit of bookings per second is reached")]
    Limited { backlog: Duration },
    #[error("bookings of concert {concert} are paused")]
    ConcertPaused { concert: ConcertId },
    #[error("the limit of bookings per second of concert {concert} is reached")]
    ConcertLimited { concert: ConcertId, backlog: Duration },
}

impl Intake {
    /// `process` identifies this instance in its heartbeats.
    pub fn new(process: Uuid) -> Self {
        Self(Arc::new(Inner {
            process,
            mode: AtomicU8::new(Mode::NotKnown as u8),
            has_concerts: AtomicBool::default(),
            requested: AtomicU64::default(),
            state: Mutex::default(),
            changed_here: Notify::new(),
            concerts_changed: Notify::new(),
        }))
    }

    /// Without controls: for a benchmark that has no other instance.
    pub fn open() -> Self {
        let intake = Self::new(Uuid::nil());
        intake.on_stored(StoredControls::default(), Instant::now());
        intake
    }

    /// Exports the controls as metrics.
    pub fn register(&self, registry: &mut MetricsRegistry) {
        metrics::register(self, registry);
    }

    /// Counts a booking that a client requests. Returns the concerts with controls that it is of.
    pub fn count_request(&self, request: &BookingRequest) -> BookedConcerts {
        self.0.requested.fetch_add(1, Ordering::Relaxed);
        if !self.0.has_concerts.load(Ordering::Relaxed) {
            return BookedConcerts::default();
        }
        self.lock().concerts.count_request(request)
    }

    pub fn is_paused(&self) -> bool {
        self.mode() == Mode::Paused
    }

    /// Whether bookings are admitted, perhaps at a limited rate.
    pub fn is_open(&self) -> bool {
        matches!(self.mode(), Mode::Open | Mode::Limited)
    }

    /// Whether this instance knows the controls.
    pub fn is_known(&self) -> bool {
        self.mode() != Mode::NotKnown
    }

    /// Whether bookings of these concerts are paused, or all.
    pub fn check_paused(&self, booked: &BookedConcerts) -> Result<(), NotAdmitted> {
        if self.is_paused() {
            return Err(NotAdmitted::Paused);
        }
        if booked.is_none() { Ok(()) } else { self.lock().concerts.check_paused(booked) }
    }

    /// Admits one booking of these concerts, or returns why not.
    pub fn admit(&self, booked: &BookedConcerts, now: Instant) -> Result<(), NotAdmitted> {
        match self.mode() {
            Mode::Open if booked.is_none() => Ok(()),
            Mode::Open | Mode::Limited => self.lock().admit(booked, now),
            Mode::Paused => Err(NotAdmitted::Paused),
            Mode::NotKnown => Err(NotAdmitted::NotKnown),
        }
    }

    /// The controls that this instance obeys; `None` if it knows none yet.
    pub fn current(&self) -> Option<CurrentControls> {
        let Known { controls, change, read_at, .. } = self.lock().known.clone()?;
        let is_stored = read_at.is_some_and(|at| at.elapsed() < STALE_AFTER);
        Some(CurrentControls { controls, change, is_stored })
    }

    /// Obeys what was read from Postgres. The reading began at `began_at`.
    pub fn on_stored(&self, stored: StoredControls, began_at: Instant) {
        let now = Instant::now();
        let mut state = self.lock();
        let before = state.revision();
        state.learn_stored(stored, began_at, now);
        self.obey(state, before, now);
    }

    /// Uses these seats of the concerts that have controls.
    fn on_seats(&self, seats: SeatIndex) {
        let mut state = self.lock();
        state.concerts.set_seats(seats);
        let revision = state.revision();
        self.obey(state, revision, Instant::now());
    }

    /// The concerts that have controls.
    fn controlled_concerts(&self) -> Vec<ConcertId> {
        self.lock().concerts.ids()
    }

    /// Resolves once other concerts have controls than before.
    async fn concerts_changed(&self) {
        self.0.concerts_changed.notified().await;
    }

    /// Tells the other instances at once of controls that were changed on this one.
    pub fn announce(&self) {
        self.0.changed_here.notify_one();
    }

    /// Resolves after [`Self::announce`].
    pub async fn changed_here(&self) {
        self.0.changed_here.notified().await;
    }

    /// Records the heartbeat of another instance: its demand, and the controls that it knows.
    pub fn on_heartbeat(&self, heartbeat: &Heartbeat, now: Instant) {
        let ProcessState::Api(published) = &heartbeat.state else { return };
        if heartbeat.process == self.0.process {
            return;
        }
        let mut state = self.lock();
        let before = state.revision();
        state.learn_from(heartbeat.process, published, now);
        self.obey(state, before, now);
    }

    /// The connection that receives heartbeats is new, or lost.
    pub fn listens(&self, is_listening: bool) {
        let since = is_listening.then(Instant::now);
        let mut state = self.lock();
        state.limit.demand.listens_since(since);
        state.concerts.listens_since(since);
    }

    /// Adds to a heartbeat of this instance what the others must know.
    pub fn complete(&self, published: Published) -> Published {
        let requested = self.0.requested.load(Ordering::Relaxed);
        let state = self.lock();
        let requested_by_concert = state.concerts.requested();
        let known = state.known.as_ref().map(|known| &known.controls);
        let controls = known.map(|controls| controls.intake);
        let concert_controls = known.map(|controls| controls.concerts.clone());
        Published { requested, requested_by_concert, controls, concert_controls, ..published }
    }

    /// Records a heartbeat of this instance, so that its demand is what the others know of it.
    pub fn on_own_heartbeat(&self, published: &Published, now: Instant) {
        let mut state = self.lock();
        state.limit.demand.record_own(published.requested, now);
        state.concerts.record_own(published, now);
        let revision = state.revision();
        self.obey(state, revision, now);
    }

    /// Puts the known controls into effect. `before` is the revision that was known before.
    fn obey(&self, mut state: MutexGuard<'_, State>, before: Option<i64>, now: Instant) {
        if state.obey(now) {
            self.0.concerts_changed.notify_one();
        }
        let Some(Known { controls, .. }) = &state.known else { return };
        self.0.has_concerts.store(!controls.concerts.is_empty(), Ordering::Relaxed);
        state.mode().store(&self.0.mode);
        let revision = controls.intake.revision;
        let is_news = before != Some(revision) && (before.is_some() || revision > 0);
        let news = is_news.then(|| controls.to_string());
        drop(state);
        if let Some(controls) = news {
            info!("the intake is {controls} (revision {revision})");
        }
    }

    fn mode(&self) -> Mode {
        Mode::load(&self.0.mode)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
