//! The documents that are kept of one seat map.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::http::HeaderValue;
use hamro_shared::domain::ConcertId;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::Document;
use super::json::seats::Selection;
use crate::http::ready_body::ReadyBody;
use crate::seat_feed::WatchedSeatMap;

pub struct KeptDocuments {
    /// Gone once the seat feed has forgotten it.
    seat_map: Weak<WatchedSeatMap>,
    all: Slot,
    available: Slot,
    pub layout: Slot,
    pub status: Slot,
    last_used: Mutex<Instant>,
}

/// Forgets the documents of seat maps that are gone, and those that were asked for longest ago until the others fit.
pub fn forget_oldest(all: &mut HashMap<ConcertId, Arc<KeptDocuments>>, bytes_max: usize) {
    all.retain(|_, kept| kept.is_in_use());
    let mut by_use: Vec<&Arc<KeptDocuments>> = all.values().collect();
    by_use.sort_by_key(|kept| kept.last_used());
    let mut bytes: usize = by_use.iter().map(|kept| kept.bytes()).sum();
    for kept in by_use {
        if bytes <= bytes_max {
            break;
        }
        bytes -= kept.bytes();
        kept.forget();
    }
}

/// The place of one document.
#[derive(Default)]
pub struct Slot {
    made: Mutex<Option<Made>>,
    /// Held while the document is being made.
    making: Arc<tokio::sync::Mutex<()>>,
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
    /// The processor time for making it.
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
    /// Waits until nobody else makes this document.
    pub async fn turn(&self) -> OwnedMutexGuard<()> {
        self.making.clone().lock_owned().await
    }

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

impl KeptDocuments {
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn made() -> Made {
        let now = Instant::now();
        let body = ReadyBody::json(vec![b'1'; 10_000]);
        Made {
            body,
            as_of: now,
            revision: 1,
            seats: 1,
            made_at: now,
            took: Duration::ZERO,
            last_event_id: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn documents_that_were_asked_for_longest_ago_are_forgotten_first_and_the_others_fit() {
        let mut all = HashMap::new();
        let mut watched = Vec::new();
        for number in 0..5 {
            let concert = ConcertId(Uuid::from_u128(number));
            let seat_map = Arc::new(WatchedSeatMap::new(concert));
            let kept = Arc::new(KeptDocuments::of(&seat_map));
            kept.seats(Selection::All).keep(made());
            kept.status.keep(made());
            all.insert(concert, kept);
            watched.push(seat_map);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let kept = |all: &HashMap<ConcertId, Arc<KeptDocuments>>, number| {
            all[&ConcertId(Uuid::from_u128(number))].clone()
        };
        kept(&all, 0).record_use();
        let each = kept(&all, 0).bytes();
        forget_oldest(&mut all, 2 * each);
        let bytes: Vec<usize> = (0..5).map(|number| kept(&all, number).bytes()).collect();
        assert_eq!(bytes, [each, 0, 0, 0, each]);
        watched.clear();
        forget_oldest(&mut all, 2 * each);
        assert!(all.is_empty());
    }
}
