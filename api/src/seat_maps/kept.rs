//! The documents that are kept of one seat map.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::time::Instant;

use super::Document;
use super::full_map::Selection;
use crate::http::ready_body::ReadyBody;
use crate::seat_feed::WatchedSeatMap;

pub struct Kept {
    /// Gone once the seat feed has forgotten it.
    seat_map: Weak<WatchedSeatMap>,
    all: Slot,
    available: Slot,
    pub layout: Slot,
    pub status: Slot,
    last_used: Mutex<Instant>,
}

/// The place of one document.
#[derive(Default)]
pub struct Slot {
    made: Mutex<Option<Made>>,
    /// Held while the document is being made.
    pub making: Arc<tokio::sync::Mutex<()>>,
}

/// A document that has been made.
#[derive(Clone)]
pub struct Made {
    pub body: ReadyBody,
    /// When the seats were read that it contains.
    pub as_of: Instant,
    /// The revision of what it was made of.
    pub revision: u64,
    /// How many seats the concert has.
    pub seats: usize,
    pub made_at: Instant,
    pub took: Duration,
    pub last_event_id: Option<HeaderValue>,
}

impl Made {
    /// The document. `age` is how long ago it was verified, if that was too long ago.
    pub fn document(&self, age: Option<Duration>) -> Document {
        Document { body: self.body.clone(), age, last_event_id: self.last_event_id.clone() }
    }

    /// The document, whose seats have changed since.
    pub fn outdated(&self) -> Document {
        self.document(Some(self.as_of.elapsed()))
    }
}

impl Slot {
    pub fn made(&self) -> Option<Made> {
        self.lock().clone()
    }

    pub fn keep(&self, made: Made) -> Made {
        *self.lock() = Some(made.clone());
        made
    }

    fn bytes(&self) -> usize {
        self.lock().as_ref().map_or(0, |made| made.body.bytes())
    }

    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    pub fn of(seat_map: &Arc<WatchedSeatMap>) -> Self {
        Self {
            seat_map: Arc::downgrade(seat_map),
            all: Slot::default(),
            available: Slot::default(),
            layout: Slot::default(),
            status: Slot::default(),
            last_used: Mutex::new(Instant::now()),
        }
    }

    pub fn is_of(&self, seat_map: &Arc<WatchedSeatMap>) -> bool {
        std::ptr::eq(self.seat_map.as_ptr(), Arc::as_ptr(seat_map))
    }

    pub fn is_in_use(&self) -> bool {
        self.seat_map.strong_count() > 0
    }

    pub fn seats(&self, selection: Selection) -> &Slot {
        match selection {
            Selection::All => &self.all,
            Selection::Available => &self.available,
        }
    }

    pub fn bytes(&self) -> usize {
        self.slots().iter().map(|slot| slot.bytes()).sum()
    }

    pub fn forget(&self) {
        for slot in self.slots() {
            slot.forget();
        }
    }

    pub fn record_use(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub fn last_used(&self) -> Instant {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> [&Slot; 4] {
        [&self.all, &self.available, &self.layout, &self.status]
    }
}
