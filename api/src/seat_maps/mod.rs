//! Documents about the seats of a concert, made once for all clients that ask for them: the full seat map, the list of
//! available seats, the layout and the status.
//!
//! They are made of the seats that the [seat feed](crate::seat_feed) keeps in memory and verifies, so a request whose
//! document is current costs no query. A document is made again only when somebody asks for it after a change. A large one
//! takes long to make, and is then followed by a pause (see [`pace`]), during which clients get the earlier one with its age.

pub mod json;
mod kept;
mod layout;
mod metrics;
mod pace;
mod processor_time;
mod seats;
mod status;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::HeaderValue;
use hamro_shared::domain::ConcertId;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep};

pub use self::json::seats::Selection;
use self::kept::KeptDocuments;
pub use self::metrics::SeatMapMetrics;
use self::pace::Pace;
use crate::http::ready_body::ReadyBody;
use crate::seat_feed::{SeatFeed, SeatFeedError, WatchedSeatMap};

/// How much memory the documents of all concerts take. The ones that were asked for longest ago are forgotten first.
const BYTES_MAX: usize = 48 * 1024 * 1024;

/// How long a request waits for a document that it needs.
const MAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// The documents about seats of this instance. Clones share them.
#[derive(Clone)]
pub struct SeatMaps(Arc<Shared>);

struct Shared {
    feed: SeatFeed,
    kept: Mutex<HashMap<ConcertId, Arc<KeptDocuments>>>,
    /// One large document is made at a time.
    making: Arc<Semaphore>,
    /// Held while seats are read to look for an unknown layout.
    unknown_layouts: tokio::sync::Mutex<()>,
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
    #[error("the document was not made within {MAKE_TIMEOUT:?}")]
    TimedOut,
    #[error("making the document failed: {0}")]
    Failed(#[from] JoinError),
}

impl SeatMaps {
    pub fn new(feed: SeatFeed, metrics: SeatMapMetrics) -> Self {
        Self(Arc::new(Shared {
            feed,
            kept: Mutex::default(),
            making: Arc::new(Semaphore::new(1)),
            unknown_layouts: tokio::sync::Mutex::default(),
            pace: Pace::new(Instant::now()),
            metrics,
        }))
    }

    /// The documents of this seat map.
    fn kept(&self, seat_map: &Arc<WatchedSeatMap>) -> Arc<KeptDocuments> {
        let mut all = self.all();
        if let Some(kept) = all.get(&seat_map.concert)
            && kept.is_of(seat_map)
        {
            kept.record_use();
            return kept.clone();
        }
        all.retain(|_, kept| kept.is_in_use());
        let kept = Arc::new(KeptDocuments::of(seat_map));
        all.insert(seat_map.concert, kept.clone());
        kept
    }

    /// Makes a large document when it is its turn. Returns how much processor time that took, which a pause follows.
    async fn make_large(
        &self,
        name: &'static str,
        make: impl FnOnce() -> ReadyBody + Send + 'static,
    ) -> Result<(ReadyBody, Duration), JoinError> {
        let permit = self.0.making.clone().acquire_owned().await;
        let (body, took) = spawn_blocking(move || {
            let _permit = permit;
            processor_time::measured(make)
        })
        .await?;
        self.0.pace.record(took, Instant::now());
        self.0.metrics.record(name, took);
        Ok((body, took))
    }

    /// Forgets the documents that were asked for longest ago, until the others fit.
    fn forget_oldest(&self) {
        kept::forget_oldest(&mut self.all(), BYTES_MAX);
    }

    fn bytes(&self) -> usize {
        self.all().values().map(|kept| kept.bytes()).sum()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ConcertId, Arc<KeptDocuments>>> {
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
