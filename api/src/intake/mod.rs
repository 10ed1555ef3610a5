//! The controls that operators have over the intake: they pause it, or limit its rate, for the whole installation.
//!
//! The controls are stored in Postgres ([`stored`]). Every instance reads them once a second ([`polling`]), and repeats
//! them in its heartbeats. So a change reaches the other instances at once, instances that have lost Postgres too, and an
//! instance that misses the announcement learns of it within a second.
//!
//! An instance keeps the controls that it knows while Postgres is away. One that has just started and knows none accepts
//! no bookings: the intake may be paused. It learns them from Postgres or from the first heartbeat of another instance.
//!
//! A limit is shared by demand: each instance takes the part of the limit that corresponds to its part of the requested
//! bookings ([`demand`]), and admits bookings at that rate ([`token_bucket`]).

mod demand;
pub mod polling;
pub mod stored;
mod token_bucket;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::queue::{Heartbeat, IntakeControls, ProcessState, Published};
use hamro_shared::telemetry::metrics::MetricsRegistry;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::info;
use uuid::Uuid;

use self::demand::Demand;
use self::stored::{Change, StoredControls};
use self::token_bucket::TokenBucket;

/// The controls count as read from Postgres for this long.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// The controls as one instance knows them. Clones share them.
#[derive(Clone)]
pub struct Intake(Arc<Inner>);

struct Inner {
    /// Identifies this instance in its heartbeats.
    process: Uuid,
    /// A [`Mode`], so that the usual case takes no lock.
    mode: AtomicU8,
    /// Bookings that clients have requested from this instance.
    requested: AtomicU64,
    state: Mutex<State>,
    /// Notified after a change that was made on this instance.
    changed_here: Notify,
}

#[derive(Default)]
struct State {
    known: Option<Known>,
    demand: Demand,
    /// Present while there is a limit.
    bucket: Option<TokenBucket>,
}

/// What is known about the controls, and since when.
#[derive(Clone)]
struct Known {
    controls: IntakeControls,
    /// Unknown if they were learned from another instance.
    change: Option<Change>,
    learned_at: Instant,
    read_at: Option<Instant>,
}

/// The controls that an instance obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentControls {
    pub controls: IntakeControls,
    /// Who has decided so; `None` if nobody has, or if this is not known yet.
    pub change: Option<Change>,
    /// Whether they were lately read from Postgres.
    pub is_stored: bool,
}

/// Why a booking is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error("the controls of the intake are not known yet")]
    NotKnown,
    #[error("the intake is paused")]
    Paused,
    #[error("the limit of bookings per second is reached")]
    Limited {
        /// How long it takes, at the limit, to accept what is requested in a second.
        backlog: Duration,
    },
}

/// What the controls mean for a booking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Mode {
    NotKnown,
    Open,
    Paused,
    Limited,
}

impl Mode {
    fn of(controls: IntakeControls) -> Self {
        match (controls.intake_paused, controls.accept_per_second) {
            (true, _) => Self::Paused,
            (false, Some(_)) => Self::Limited,
            (false, None) => Self::Open,
        }
    }

    fn load(mode: &AtomicU8) -> Self {
        match mode.load(Ordering::Relaxed) {
            1 => Self::Open,
            2 => Self::Paused,
            3 => Self::Limited,
            _ => Self::NotKnown,
        }
    }
}

impl Intake {
    /// `process` identifies this instance in its heartbeats.
    pub fn new(process: Uuid) -> Self {
        Self(Arc::new(Inner {
            process,
            mode: AtomicU8::new(Mode::NotKnown as u8),
            requested: AtomicU64::default(),
            state: Mutex::default(),
            changed_here: Notify::new(),
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
        let intake = self.clone();
        registry.read_gauge("intake_paused", "Whether operators have paused the intake", move || {
            Some(if intake.is_paused() { 1.0 } else { 0.0 })
        });
        let intake = self.clone();
        registry.read_gauge(
            "intake_limit_per_second",
            "Bookings per second that operators let the whole installation accept",
            move || intake.current()?.controls.accept_per_second.map(|limit| limit.get().into()),
        );
    }

    /// Counts a booking that a client requests.
    pub fn count_request(&self) {
        self.0.requested.fetch_add(1, Ordering::Relaxed);
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

    /// Admits one booking, or returns why not.
    pub fn admit(&self, now: Instant) -> Result<(), NotAdmitted> {
        match self.mode() {
            Mode::Open => Ok(()),
            Mode::Paused => Err(NotAdmitted::Paused),
            Mode::NotKnown => Err(NotAdmitted::NotKnown),
            Mode::Limited => self.lock().take(now),
        }
    }

    /// The controls that this instance obeys; `None` if it knows none yet.
    pub fn current(&self) -> Option<CurrentControls> {
        let Known { controls, change, read_at, .. } = self.lock().known.clone()?;
        let is_stored = read_at.is_some_and(|at| at.elapsed() < STALE_AFTER);
        Some(CurrentControls { controls, change, is_stored })
    }

    /// Obeys what was read from Postgres. The reading began at `began_at`.
    ///
    /// A reading that began after the known controls were learned replaces them even if its revision is smaller: the
    /// database was restored from a backup.
    pub fn on_stored(&self, stored: StoredControls, began_at: Instant) {
        let now = Instant::now();
        let mut state = self.lock();
        let is_current = state.known.as_ref().is_none_or(|known| {
            stored.controls.revision >= known.controls.revision || began_at >= known.learned_at
        });
        if !is_current {
            return;
        }
        let before = state.known.as_ref().map(|known| (known.controls, known.learned_at));
        let learned_at =
            before.filter(|(controls, _)| *controls == stored.controls).map_or(now, |(_, at)| at);
        let StoredControls { controls, change } = stored;
        state.known = Some(Known { controls, change, learned_at, read_at: Some(began_at) });
        self.obey(state, before.map(|(controls, _)| controls), now);
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
        state.demand.record_other(heartbeat.process, published.requested, now);
        let before = state.known.as_ref().map(|known| known.controls);
        if let Some(controls) = published.controls
            && before.is_none_or(|before| controls.revision > before.revision)
        {
            state.known = Some(Known { controls, change: None, learned_at: now, read_at: None });
        }
        self.obey(state, before, now);
    }

    /// The connection that receives heartbeats is new, or lost.
    pub fn listens(&self, is_listening: bool) {
        let now = Instant::now();
        self.lock().demand.listens_since(is_listening.then_some(now));
    }

    /// Adds to a heartbeat of this instance what the others must know.
    pub fn complete(&self, published: Published) -> Published {
        let requested = self.0.requested.load(Ordering::Relaxed);
        let controls = self.lock().known.as_ref().map(|known| known.controls);
        Published { requested, controls, ..published }
    }

    /// Records a heartbeat of this instance, so that its demand is what the others know of it.
    pub fn on_own_heartbeat(&self, published: &Published, now: Instant) {
        let mut state = self.lock();
        state.demand.record_own(published.requested, now);
        let before = state.known.as_ref().map(|known| known.controls);
        self.obey(state, before, now);
    }

    /// Puts the known controls into effect, which were `before`.
    fn obey(&self, mut state: MutexGuard<'_, State>, before: Option<IntakeControls>, now: Instant) {
        let Some(controls) = state.known.as_ref().map(|known| known.controls) else { return };
        state.share_limit(controls, now);
        self.0.mode.store(Mode::of(controls) as u8, Ordering::Relaxed);
        drop(state);
        let is_news = before.is_none_or(|before| before.revision != controls.revision);
        if is_news && (before.is_some() || controls.revision > 0) {
            info!("the intake is {} (revision {})", describe(controls), controls.revision);
        }
    }

    fn mode(&self) -> Mode {
        Mode::load(&self.0.mode)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The controls in words: `open without a limit`.
pub fn describe(controls: IntakeControls) -> String {
    let state = if controls.intake_paused { "paused" } else { "open" };
    match controls.accept_per_second {
        Some(limit) => format!("{state} with a limit of {limit} bookings per second"),
        None => format!("{state} without a limit"),
    }
}

impl State {
    /// Sets the rate of this instance to its share of the limit.
    fn share_limit(&mut self, controls: IntakeControls, now: Instant) {
        let Some(limit) = controls.accept_per_second else {
            self.bucket = None;
            return;
        };
        let rate = f64::from(limit.get()) * self.demand.share(now);
        self.bucket.get_or_insert_with(|| TokenBucket::new(now)).set_rate(rate, now);
    }

    fn take(&mut self, now: Instant) -> Result<(), NotAdmitted> {
        // The limit may just have been removed.
        let Some(bucket) = &mut self.bucket else { return Ok(()) };
        if bucket.take(now) {
            return Ok(());
        }
        let limit = self.known.as_ref().and_then(|known| known.controls.accept_per_second);
        let limit = limit.map_or(1.0, |limit| f64::from(limit.get()));
        let seconds = (self.demand.total(now) / limit).clamp(1.0, 3600.0);
        Err(NotAdmitted::Limited { backlog: Duration::from_secs_f64(seconds) })
    }
}

#[cfg(test)]
mod tests;
