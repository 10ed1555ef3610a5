//! The bodies that are kept. Their bytes are bounded.
//!
//! Anybody can ask for pages of any number and size. So the bodies that were asked for once go first, and one that is asked
//! for again and again stays, however many others are asked for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::key::CatalogueKey;
use crate::boot_clock::BootInstant;
use crate::http::ready_body::ReadyBody;

/// The largest sum of the bytes of all bodies.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// What an entry takes in addition to its body.
const ENTRY_BYTES: usize = 256;

/// A body that was not asked for in so many milliseconds counts as asked for once.
const HOT_FOR: u64 = 60_000;

/// In milliseconds.
const NOTE_USE_EVERY: u64 = 100;

/// A body and what it is a version of.
#[derive(Clone)]
pub struct CachedBody {
    pub body: ReadyBody,
    /// The version of its part when it was read, or an earlier one.
    pub number: u64,
    /// How many writes of this instance had ended when it was read, at least.
    pub own_writes: u64,
    /// When that version was known to be current.
    pub verified_at: BootInstant,
    /// How long it took to make.
    pub build_time: Duration,
}

struct Kept {
    body: CachedBody,
    /// In milliseconds since the machine started.
    used_at: AtomicU64,
    /// Whether it was asked for after the request for which it was made.
    is_reused: AtomicBool,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.body.body.bytes() + ENTRY_BYTES
    }

    /// Notes a use. Not each time, because all threads share the note.
    fn note_use(&self, now: BootInstant) {
        let now = now.as_millis();
        if now.saturating_sub(self.used_at.load(Ordering::Relaxed)) >= NOTE_USE_EVERY {
            self.used_at.store(now, Ordering::Relaxed);
        }
        if !self.is_reused.load(Ordering::Relaxed) {
            self.is_reused.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it is asked for again and again, and when it was last. The first in this order goes first.
    fn rank(&self, now: BootInstant) -> (bool, u64) {
        let used_at = self.used_at.load(Ordering::Relaxed);
        (self.is_reused.load(Ordering::Relaxed) && now.as_millis().saturating_sub(used_at) < HOT_FOR, used_at)
    }
}

pub struct Bodies {
    kept: HashMap<CatalogueKey, Kept>,
    bytes: usize,
    bytes_max: usize,
    /// How many writes of this instance had ended when everything was forgotten. What was read before is not kept.
    forgotten: u64,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { kept: HashMap::new(), bytes: 0, bytes_max: BYTES_MAX, forgotten: 0 }
    }
}

impl Bodies {
    pub fn find(&self, key: &CatalogueKey, now: BootInstant) -> Option<CachedBody> {
        let kept = self.kept.get(key)?;
        kept.note_use(now);
        Some(kept.body.clone())
    }

    /// Keeps the body in place of an earlier one. A later one stays.
    pub fn keep(&mut self, key: CatalogueKey, body: CachedBody, now: BootInstant) {
        if body.own_writes < self.forgotten {
            return;
        }
        match self.kept.entry(key) {
            Entry::Occupied(entry) if entry.get().body.number > body.number => return,
            Entry::Occupied(mut entry) => {
                self.bytes -= entry.get().bytes();
                entry.get_mut().body = body;
                self.bytes += entry.get().bytes();
            }
            Entry::Vacant(entry) => {
                let (used_at, is_reused) = (AtomicU64::new(now.as_millis()), AtomicBool::new(false));
                let kept = entry.insert(Kept { body, used_at, is_reused });
                self.bytes += kept.bytes();
            }
        }
        if self.bytes > self.bytes_max {
            self.evict(now);
        }
    }

    /// Removes a little more than it must, so that not every new body looks at all others.
    fn evict(&mut self, now: BootInstant) {
        let mut ranked: Vec<_> = self.kept.iter().map(|(key, kept)| (kept.rank(now), *key)).collect();
        ranked.sort_unstable_by_key(|(rank, _)| *rank);
        for ((is_hot, _), key) in ranked {
            let enough = if is_hot { self.bytes_max } else { self.bytes_max / 8 * 7 };
            if self.bytes <= enough {
                return;
            }
            if let Some(removed) = self.kept.remove(&key) {
                self.bytes -= removed.bytes();
            }
        }
    }

    /// Removes all bodies, and keeps none that was read before so many writes of this instance had ended.
    pub fn forget(&mut self, own_writes: u64) {
        self.kept.clear();
        self.bytes = 0;
        self.forgotten = own_writes;
    }

    /// The bytes of all bodies, and their number.
    pub fn size(&self) -> (usize, usize) {
        (self.bytes, self.kept.len())
    }
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::TierId;

    use super::*;
    use crate::catalogue_cache::DocumentKey;

    fn at(seconds: u64) -> BootInstant {
        BootInstant::at(Duration::from_secs(seconds))
    }

    fn body(number: u64) -> CachedBody {
        let body = ReadyBody::json(vec![b'1'; 10_000]);
        let (verified_at, build_time) = (at(0), Duration::ZERO);
        CachedBody { body, number, own_writes: 0, verified_at, build_time }
    }

    fn tier(id: i32) -> CatalogueKey {
        CatalogueKey::Document(DocumentKey::Tier(TierId(id)))
    }

    #[test]
    fn bodies_that_are_asked_for_once_never_evict_those_that_are_asked_for_again() {
        let mut bodies = Bodies { bytes_max: 100_000, ..Bodies::default() };
        for hot in [tier(1), tier(2)] {
            bodies.keep(hot, body(1), at(0));
            bodies.find(&hot, at(1)).unwrap();
        }
        for odd in 10..100 {
            bodies.keep(tier(odd), body(1), at(2));
            assert!(bodies.size().0 <= 100_000);
        }
        assert!(bodies.find(&tier(1), at(3)).is_some() && bodies.find(&tier(2), at(3)).is_some());
    }

    #[test]
    fn a_body_that_nobody_asks_for_any_more_gives_way() {
        let mut bodies = Bodies { bytes_max: 25_000, ..Bodies::default() };
        for old in [tier(1), tier(2)] {
            bodies.keep(old, body(1), at(0));
            bodies.find(&old, at(1)).unwrap();
        }
        bodies.keep(tier(3), body(1), at(30));
        assert!(bodies.find(&tier(3), at(30)).is_none(), "both are asked for");
        bodies.keep(tier(3), body(1), at(90));
        assert!(bodies.find(&tier(3), at(90)).is_some());
    }

    #[test]
    fn an_earlier_version_does_not_replace_a_later_one() {
        let mut bodies = Bodies::default();
        bodies.keep(tier(1), body(2), at(0));
        bodies.keep(tier(1), body(1), at(0));
        assert_eq!(bodies.find(&tier(1), at(0)).unwrap().number, 2);
        bodies.keep(tier(1), body(3), at(0));
        assert_eq!(bodies.find(&tier(1), at(0)).unwrap().number, 3);
        let bytes = body(3).body.bytes() + ENTRY_BYTES;
        assert_eq!(bodies.size(), (bytes, 1));
    }

    #[test]
    fn what_was_read_before_everything_was_forgotten_is_not_kept() {
        let mut bodies = Bodies::default();
        bodies.keep(tier(1), body(1), at(0));
        bodies.forget(1);
        bodies.keep(tier(2), body(1), at(0));
        assert_eq!(bodies.size(), (0, 0));
        bodies.keep(tier(2), CachedBody { own_writes: 1, ..body(1) }, at(0));
        assert_eq!(bodies.size().1, 1);
    }

    #[test]
    fn a_body_that_is_too_large_is_not_kept() {
        let mut bodies = Bodies { bytes_max: 1_000, ..Bodies::default() };
        bodies.keep(tier(1), body(1), at(0));
        assert_eq!(bodies.size(), (0, 0));
    }
}
