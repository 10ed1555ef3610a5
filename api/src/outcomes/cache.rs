//! The outcomes that this instance has received or looked up recently.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::{SettledTicket, TicketId};
use hamro_shared::queue::RawSettledTicket;
use tokio::time::Instant;
use tracing::warn;

/// Every outcome is kept for at least this long, so that an instance does not return `queued` after it has returned a
/// final status. Older outcomes are in Postgres and behind the watermark. Each outcome takes about 600 bytes.
const KEEP_AT_LEAST: Duration = Duration::from_secs(5);

/// How many outcomes are kept for longer than that: about ten megabytes.
const OLD_OUTCOMES_MAX: usize = 20_000;

/// No outcome is kept for longer than this, so that data erased from the database also disappears here, and a release whose
/// announcement was lost appears.
const KEEP_AT_MOST: Duration = Duration::from_mins(1);

/// Recent outcomes by ticket.
///
/// An outcome is decoded when it is first needed, and outside the lock, which all requests share.
#[derive(Default)]
pub struct OutcomeCache(Mutex<State>);

#[derive(Default)]
struct State {
    outcomes: HashMap<TicketId, Cached>,
    /// The tickets in `outcomes`, oldest first, with the time when each was inserted.
    insertions: VecDeque<(Instant, TicketId)>,
}

enum Cached {
    /// As announced.
    Encoded(Arc<RawSettledTicket>),
    Decoded(Arc<SettledTicket>),
    /// Announced in a form that this version cannot decode. The cause has been logged.
    Unreadable,
}

impl Cached {
    /// Outcomes change only by releases, which are announced and read in decoded form. So a repeated one is the same, or
    /// has another revision.
    fn is_as_recent_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Decoded(known), Self::Decoded(other)) => known.revision() >= other.revision(),
            (Self::Decoded(_), _) => true,
            _ => false,
        }
    }
}

impl OutcomeCache {
    /// Caches announced outcomes without decoding them.
    pub fn insert_announced(&self, announced: &[Arc<RawSettledTicket>]) {
        let now = Instant::now();
        let mut state = self.lock();
        for announced in announced {
            state.insert(announced.ticket_id, Cached::Encoded(announced.clone()), now);
        }
        state.evict_old(now);
    }

    /// Whether this outcome is known, or a later version of it.
    pub fn knows(&self, settled: &Arc<SettledTicket>) -> bool {
        let state = self.lock();
        let known = state.outcomes.get(&settled.ticket_id);
        known.is_some_and(|known| known.is_as_recent_as(&Cached::Decoded(settled.clone())))
    }

    /// Caches an outcome that was read from the database. Returns the latest version that is known: a query may have read
    /// the booking before seats of it were released, and end after the release was announced.
    pub fn insert_decoded(&self, settled: Arc<SettledTicket>) -> Arc<SettledTicket> {
        let now = Instant::now();
        let mut state = self.lock();
        state.insert(settled.ticket_id, Cached::Decoded(settled.clone()), now);
        let latest = match state.outcomes.get(&settled.ticket_id) {
            Some(Cached::Decoded(latest)) => latest.clone(),
            _ => settled,
        };
        state.evict_old(now);
        latest
    }

    /// The outcome of a ticket, if it is cached and readable. A ticket without one may still have been settled.
    pub fn get(&self, ticket: TicketId) -> Option<Arc<SettledTicket>> {
        let announced = match self.lock().outcomes.get(&ticket)? {
            Cached::Encoded(announced) => announced.clone(),
            Cached::Decoded(settled) => return Some(settled.clone()),
            Cached::Unreadable => return None,
        };
        self.decode(&[announced]).pop()
    }

    /// Decodes announced outcomes and replaces their cache entries. Returns those that are readable.
    pub fn decode(&self, announced: &[Arc<RawSettledTicket>]) -> Vec<Arc<SettledTicket>> {
        let mut readable = Vec::with_capacity(announced.len());
        let mut unreadable = Vec::new();
        for announced in announced {
            match announced.decode() {
                Ok(settled) => readable.push(Arc::new(settled)),
                Err(error) => unreadable.push((announced.ticket_id, error)),
            }
        }
        {
            let mut state = self.lock();
            for settled in &mut readable {
                state.replace_encoded(settled);
            }
            unreadable.retain(|(ticket, _)| state.mark_unreadable(*ticket));
        }
        for (ticket, error) in unreadable {
            // A newer worker has written it. Waiters get the outcome from the database.
            warn!(ticket.log_id = %ticket, "cannot read the announced outcome of ticket {ticket}: {error}");
        }
        readable
    }

    /// Removes all outcomes.
    pub fn clear(&self) {
        *self.lock() = State::default();
    }

    /// Removes the outcomes that have been kept for long enough.
    pub fn evict_old(&self) {
        self.lock().evict_old(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held cannot leave the state half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, ticket: TicketId, outcome: Cached, now: Instant) {
        match self.outcomes.entry(ticket) {
            Entry::Occupied(entry) if entry.get().is_as_recent_as(&outcome) => {}
            Entry::Occupied(mut entry) => drop(entry.insert(outcome)),
            Entry::Vacant(entry) => {
                entry.insert(outcome);
                self.insertions.push_back((now, ticket));
            }
        }
    }

    /// Stores a decoded outcome, unless another thread has decoded it or it has been evicted meanwhile. All callers
    /// share the first one.
    fn replace_encoded(&mut self, settled: &mut Arc<SettledTicket>) {
        match self.outcomes.get_mut(&settled.ticket_id) {
            Some(Cached::Decoded(first)) => *settled = first.clone(),
            Some(cached) => *cached = Cached::Decoded(settled.clone()),
            None => {}
        }
    }

    /// Returns whether the outcome was not known to be unreadable.
    fn mark_unreadable(&mut self, ticket: TicketId) -> bool {
        match self.outcomes.get_mut(&ticket) {
            Some(cached @ Cached::Encoded(_)) => {
                *cached = Cached::Unreadable;
                true
            }
            _ => false,
        }
    }

    fn evict_old(&mut self, now: Instant) {
        while let Some((inserted_at, ticket)) = self.insertions.front() {
            if !is_evicted(now.duration_since(*inserted_at), self.insertions.len()) {
                break;
            }
            self.outcomes.remove(ticket);
            self.insertions.pop_front();
        }
    }
}

/// Whether an outcome of this age is evicted if it is the oldest of `count`.
pub fn is_evicted(age: Duration, count: usize) -> bool {
    let is_beyond_limit = age > KEEP_AT_LEAST && count > OLD_OUTCOMES_MAX;
    is_beyond_limit || age > KEEP_AT_MOST
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::super::fixtures::{booked, received, received_from_newer_worker, settled};
    use super::*;

    fn announced(numbers: impl IntoIterator<Item = u128>) -> Vec<Arc<RawSettledTicket>> {
        received(numbers).into_iter().map(Arc::new).collect()
    }

    #[test]
    fn a_late_announcement_does_not_replace_a_decoded_outcome() {
        let cache = OutcomeCache::default();
        let decoded = Arc::new(settled(1));
        cache.insert_decoded(decoded.clone());
        cache.insert_announced(&announced([1]));
        assert!(cache.get(settled(1).ticket_id).is_some_and(|cached| Arc::ptr_eq(&cached, &decoded)));
    }

    #[test]
    fn a_released_booking_replaces_the_earlier_one_and_is_not_replaced_by_it() {
        let cache = OutcomeCache::default();
        let [before, partly, after] = [0, 1, 2].map(|count| Arc::new(booked(1, count)));
        let ticket = before.ticket_id;
        for (read, latest) in
            [(&before, &before), (&partly, &partly), (&before, &partly), (&after, &after), (&partly, &after)]
        {
            assert!(Arc::ptr_eq(&cache.insert_decoded(read.clone()), latest));
            cache.insert_announced(&announced([1]));
            assert!(cache.get(ticket).is_some_and(|cached| Arc::ptr_eq(&cached, latest)));
        }
        assert_eq!(cache.lock().insertions.len(), 1);
    }

    #[test]
    fn an_announced_outcome_is_decoded_once() {
        let cache = OutcomeCache::default();
        let announced = announced([1]);
        cache.insert_announced(&announced);
        let first = cache.get(settled(1).ticket_id).unwrap();
        let second = cache.decode(&announced).pop().unwrap();
        assert_eq!(*first, settled(1));
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn an_unreadable_announcement_is_decoded_once_and_replaced_by_a_stored_outcome() {
        let cache = OutcomeCache::default();
        let ticket = settled(1).ticket_id;
        cache.insert_announced(&[Arc::new(received_from_newer_worker(1))]);
        assert_eq!(cache.get(ticket), None);
        assert!(matches!(cache.lock().outcomes[&ticket], Cached::Unreadable));
        cache.insert_decoded(Arc::new(settled(1)));
        assert_eq!(cache.get(ticket).as_deref(), Some(&settled(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn every_outcome_is_kept_for_five_seconds_regardless_of_their_number() {
        let cache = OutcomeCache::default();
        let max = OLD_OUTCOMES_MAX as u128;
        cache.insert_announced(&announced(0..3 * max));
        advance(KEEP_AT_LEAST).await;
        cache.insert_announced(&announced([3 * max]));
        assert_eq!(cache.get(settled(0).ticket_id).as_deref(), Some(&settled(0)));
        assert_eq!(cache.lock().outcomes.len(), 3 * OLD_OUTCOMES_MAX + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn older_outcomes_are_limited_by_number_and_age() {
        let cache = OutcomeCache::default();
        let max = OLD_OUTCOMES_MAX as u128;
        cache.insert_announced(&announced(0..max + 5));
        advance(KEEP_AT_LEAST + Duration::from_millis(1)).await;
        // A repeated outcome does not count again.
        cache.insert_announced(&announced(max..max + 5));
        assert_eq!(cache.get(settled(4).ticket_id), None);
        assert_eq!(cache.get(settled(5).ticket_id).as_deref(), Some(&settled(5)));
        assert_eq!(cache.lock().outcomes.len(), OLD_OUTCOMES_MAX);
        advance(KEEP_AT_MOST).await;
        cache.evict_old();
        assert!(cache.lock().outcomes.is_empty() && cache.lock().insertions.is_empty());
    }
}
