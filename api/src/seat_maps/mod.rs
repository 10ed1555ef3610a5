//! Documents about the seats of a concert, made once for all clients that ask for them: the full seat map, the list of
//! available seats, the layout and the status.
//!
//! They are made of the seats that the [seat feed](crate::seat_feed) keeps in memory and verifies, so a request whose
//! document is current costs no query. A document is made again only when somebody asks for it after a change. A large one
//! takes long to make, and is then followed by a pause (see [`pace`]), during which clients get the earlier one with its age.

pub mod full_map;
mod kept;
pub mod layout;
mod metrics;
mod pace;
pub mod status;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use hamro_shared::domain::ConcertId;
use hamro_shared::telemetry::metrics::MetricsRegistry;
use tokio::sync::{OwnedMutexGuard, Semaphore};
use tokio::task::{spawn, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

pub use self::full_map::Selection;
use self::kept::{Kept, Made, Slot};
pub use self::metrics::SeatMapMetrics;
use self::pace::Pace;
use crate::http::ready_body::ReadyBody;
use crate::seat_feed::layout_version::LayoutVersion;
use crate::seat_feed::{Needed, SeatFeed, SeatFeedError, WatchedSeatMap};

/// How much memory the documents of all concerts take. The ones that were asked for longest ago are forgotten first.
const BYTES_MAX: usize = 48 * 1024 * 1024;

/// How long a status may be sent after it was made, however much has changed.
const STATUS_FOR: Duration = Duration::from_millis(100);

/// A request waits for a pause that ends this soon.
const SHORT_PAUSE: Duration = Duration::from_millis(100);

/// How long a request waits for a new document if there is an earlier one.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a request waits for the first document.
const FIRST_TIMEOUT: Duration = Duration::from_secs(15);

/// How often a request for an unknown layout reads the seats: another instance may know it already.
const UNKNOWN_LAYOUT_EVERY: Duration = Duration::from_millis(250);

/// The documents about seats of this instance.
#[derive(Clone)]
pub struct SeatMaps(Arc<Shared>);

struct Shared {
    feed: SeatFeed,
    kept: Mutex<HashMap<ConcertId, Arc<Kept>>>,
    /// One large document is made at a time.
    making: Arc<Semaphore>,
    pace: Pace,
    metrics: SeatMapMetrics,
}

/// A document, and how old it is if it may not be current.
pub struct Document {
    pub body: ReadyBody,
    pub age: Option<Duration>,
    /// The events of the seat map after this one contain all later changes. Only of a status.
    pub last_event_id: Option<HeaderValue>,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum SeatMapError {
    #[error(transparent)]
    Feed(#[from] SeatFeedError),
    #[error("the concert has another layout")]
    LayoutChanged,
    #[error("the document was not made within {FIRST_TIMEOUT:?}")]
    TimedOut,
    #[error("making the document failed: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

impl SeatMaps {
    pub fn new(feed: SeatFeed, metrics: SeatMapMetrics) -> Self {
        Self(Arc::new(Shared {
            feed,
            kept: Mutex::default(),
            making: Arc::new(Semaphore::new(1)),
            pace: Pace::new(Instant::now()),
            metrics,
        }))
    }

    /// Exports how much memory the documents take.
    #[expect(clippy::cast_precision_loss, reason = "metrics")]
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let seat_maps = self.clone();
        registry.read_gauge(
            "seat_map_bytes",
            "Memory of the compressed seat maps, lists of available seats, layouts and status documents, in bytes",
            move || Some(seat_maps.bytes() as f64),
        );
    }

    /// The full seat map of a concert, or its available seats.
    pub async fn seats(&self, concert: ConcertId, selection: Selection) -> Result<Document, SeatMapError> {
        let seat_map = self.0.feed.watch(concert).await?;
        let unverified = self.0.feed.verify(&seat_map).await?;
        let kept = self.kept(&seat_map);
        let slot = kept.seats(selection);
        let needed = self.0.feed.needed(&seat_map);
        let earlier = slot.made();
        if let Some(made) = &earlier {
            if made.as_of >= needed.since {
                return Ok(made.document(unverified));
            }
            if unverified.is_some() {
                return Ok(made.outdated());
            }
            if needed.has_own_writes(made.as_of) {
                match self.0.pace.pause(made, Instant::now()) {
                    Duration::ZERO => {}
                    pause if pause <= SHORT_PAUSE => wait(pause).await,
                    _ => return Ok(made.outdated()),
                }
            }
        }
        let making = self.seats_since(&seat_map, &kept, selection, needed, unverified.is_none());
        match earlier {
            None => timeout(FIRST_TIMEOUT, making).await.map_err(|_| SeatMapError::TimedOut)?,
            // A client must not miss what it has just written, however long that takes.
            Some(made) if !needed.has_own_writes(made.as_of) => {
                timeout(FIRST_TIMEOUT, making).await.map_err(|_| SeatMapError::TimedOut)?
            }
            Some(made) => match timeout(PATIENCE, making).await {
                Ok(Err(SeatMapError::Feed(SeatFeedError::ConcertNotFound))) => {
                    Err(SeatFeedError::ConcertNotFound.into())
                }
                Ok(Ok(document)) => Ok(document),
                // The database has just begun not to respond, or the document takes long to make.
                Ok(Err(_)) | Err(_) => Ok(made.outdated()),
            },
        }
    }

    /// Makes the document, unless another request does so.
    async fn seats_since(
        &self,
        seat_map: &Arc<WatchedSeatMap>,
        kept: &Arc<Kept>,
        selection: Selection,
        needed: Needed,
        is_verified: bool,
    ) -> Result<Document, SeatMapError> {
        let slot = kept.seats(selection);
        let turn = slot.turn().await;
        if let Some(made) = slot.made()
            && (made.as_of >= needed.since || !is_verified)
        {
            return Ok(if is_verified { made.document(None) } else { made.outdated() });
        }
        // In a task of its own: a client that disconnects must not make others wait for a second attempt.
        let making =
            self.clone().make_seats(seat_map.clone(), kept.clone(), selection, needed, is_verified, turn);
        let made = spawn(making).await??;
        Ok(if is_verified { made.document(None) } else { made.outdated() })
    }

    async fn make_seats(
        self,
        seat_map: Arc<WatchedSeatMap>,
        kept: Arc<Kept>,
        selection: Selection,
        needed: Needed,
        is_verified: bool,
        _turn: OwnedMutexGuard<()>,
    ) -> Result<Made, SeatMapError> {
        if is_verified {
            self.0.feed.read(&seat_map, needed.since).await?;
        }
        let (table, as_of) = seat_map.stored().ok_or(SeatFeedError::ConcertNotFound)?;
        let (slot, revision, seats) = (kept.seats(selection), table.revision(), table.total());
        if let Some(made) = slot.made()
            && made.revision == revision
        {
            return Ok(slot.keep(Made { as_of, ..made }));
        }
        let permit = self.0.making.clone().acquire_owned().await;
        let concert = seat_map.concert;
        let (body, took) = spawn_blocking(move || {
            let _permit = permit;
            let started = Instant::now();
            let body = ReadyBody::compressed_only(full_map::json(concert, &table, selection));
            (body, started.elapsed())
        })
        .await?;
        let made_at = Instant::now();
        self.0.pace.record(took, made_at);
        self.0.metrics.record(selection.name(), took);
        let made = slot.keep(Made { body, as_of, revision, seats, made_at, took, last_event_id: None });
        self.forget_oldest();
        Ok(made)
    }

    /// Which seats are free, at most a second old.
    pub async fn status(&self, concert: ConcertId) -> Result<Document, SeatMapError> {
        let seat_map = self.0.feed.watch(concert).await?;
        let unverified = self.0.feed.verify(&seat_map).await?;
        if unverified.is_none() {
            self.read_own_writes(&seat_map).await?;
        }
        let kept = self.kept(&seat_map);
        let needed = self.0.feed.needed(&seat_map);
        let is_current = |made: &Made| {
            let is_young = made.made_at.elapsed() < STATUS_FOR && needed.has_own_writes(made.as_of);
            is_young || made.revision == seat_map.revision()
        };
        let slot = &kept.status;
        if let Some(made) = slot.made().filter(is_current) {
            return Ok(made.document(unverified));
        }
        let _turn = slot.turn().await;
        if let Some(made) = slot.made().filter(is_current) {
            return Ok(made.document(unverified));
        }
        let started = Instant::now();
        let status = seat_map.status();
        let (revision, seats) = (status.revision, status.total);
        let last_event_id = HeaderValue::from_str(&status.last_event_id).ok();
        let body = spawn_blocking(move || ReadyBody::json(status::json(&status))).await?;
        let made_at = Instant::now();
        let took = made_at - started;
        self.0.metrics.record("status", took);
        let made = Made { body, as_of: started, revision, seats, made_at, took, last_event_id };
        Ok(slot.keep(made).document(unverified))
    }

    /// A version of the layout of a concert.
    pub async fn layout(
        &self,
        concert: ConcertId,
        version: LayoutVersion,
    ) -> Result<ReadyBody, SeatMapError> {
        let seat_map = self.0.feed.watch(concert).await?;
        if seat_map.layout_version() != version {
            // Another instance may have noticed a change before this one. All who ask for an unknown version wait for one read.
            let now = Instant::now();
            let next_read = seat_map.read_at().map_or(now, |read_at| read_at + UNKNOWN_LAYOUT_EVERY);
            wait(next_read.saturating_duration_since(now)).await;
            self.0.feed.read(&seat_map, next_read.max(now)).await?;
            if seat_map.layout_version() != version {
                return Err(SeatMapError::LayoutChanged);
            }
        }
        let kept = self.kept(&seat_map);
        let is_wanted = |made: &Made| made.revision == layout::revision(version);
        let slot = &kept.layout;
        if let Some(made) = slot.made().filter(is_wanted) {
            return Ok(made.body);
        }
        let _turn = slot.turn().await;
        if let Some(made) = slot.made().filter(is_wanted) {
            return Ok(made.body);
        }
        let (table, as_of) = seat_map.stored().ok_or(SeatFeedError::ConcertNotFound)?;
        if table.layout_version() != version {
            return Err(SeatMapError::LayoutChanged);
        }
        let permit = self.0.making.clone().acquire_owned().await;
        let seats = table.total();
        let (body, took) = spawn_blocking(move || {
            let _permit = permit;
            let started = Instant::now();
            (ReadyBody::json(layout::json(&table)), started.elapsed())
        })
        .await?;
        let made_at = Instant::now();
        self.0.pace.record(took, made_at);
        self.0.metrics.record("layout", took);
        let revision = layout::revision(version);
        let made = slot.keep(Made { body, as_of, revision, seats, made_at, took, last_event_id: None });
        self.forget_oldest();
        Ok(made.body)
    }

    /// Reads what this instance has changed itself since the last read.
    async fn read_own_writes(&self, seat_map: &Arc<WatchedSeatMap>) -> Result<(), SeatMapError> {
        if let Some(written_at) = self.0.feed.needed(seat_map).own_writes_since
            && seat_map.read_at().is_none_or(|read_at| read_at < written_at)
        {
            self.0.feed.read(seat_map, written_at).await?;
        }
        Ok(())
    }

    /// The documents of this seat map.
    fn kept(&self, seat_map: &Arc<WatchedSeatMap>) -> Arc<Kept> {
        let mut all = self.all();
        if let Some(kept) = all.get(&seat_map.concert)
            && kept.is_of(seat_map)
        {
            kept.record_use();
            return kept.clone();
        }
        all.retain(|_, kept| kept.is_in_use());
        let kept = Arc::new(Kept::of(seat_map));
        all.insert(seat_map.concert, kept.clone());
        kept
    }

    /// Forgets the documents that were asked for longest ago, until the others fit.
    fn forget_oldest(&self) {
        kept::forget_oldest(&mut self.all(), BYTES_MAX);
    }

    fn bytes(&self) -> usize {
        self.all().values().map(|kept| kept.bytes()).sum()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ConcertId, Arc<Kept>>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a pause between two documents has a length, and no end to wait for"
)]
async fn wait(pause: Duration) {
    sleep(pause).await;
}

impl Slot {
    /// Waits until nobody else makes this document.
    async fn turn(&self) -> OwnedMutexGuard<()> {
        self.making.clone().lock_owned().await
    }
}
