//! What this instance knows of outcomes, and who waits here for which.
//!
//! A waiter registers before its booking is published, so that no outcome can slip through in between. It is woken by
//! the workers' announcement; should that be lost, by a look-up that all waiters share, once a second, in one query.
//! What was announced or looked up is remembered for a while, since whoever hears of an outcome asks for it next.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::database::Database;
use hamro_shared::database::tickets::{self, Unreadable};
use hamro_shared::domain::{SettledTicket, TicketId};
use hamro_shared::queue::RawSettledTicket;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

const LOOK_UP_EVERY: Duration = Duration::from_secs(1);

type OutcomeSender = watch::Sender<Option<Arc<SettledTicket>>>;

/// Every outcome is remembered for this long, whatever their number, so that an instance does not answer `queued` after it has
/// reported a final status. Older outcomes are in Postgres and behind the watermark. Each takes about 600 bytes.
const REMEMBERED_FOR: Duration = Duration::from_secs(5);

/// How many outcomes are remembered longer than that: about ten megabytes.
const REMEMBERED: usize = 20_000;

/// No outcome is remembered for longer than this, so that data erased from the database disappears here, too.
const REMEMBERED_AT_MOST_FOR: Duration = Duration::from_mins(1);

/// How many unreadable tickets are remembered, so that each is logged once.
const UNREADABLE_REMEMBERED: usize = 1_000;

/// The outcomes that this instance has heard of lately, and the tickets that somebody waits for.
#[derive(Clone, Default)]
pub struct OutcomeCache(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pending: HashMap<TicketId, OutcomeSender>,
    cached: HashMap<TicketId, Cached>,
    /// Those that are remembered, and since when, the oldest first.
    order: VecDeque<(Instant, TicketId)>,
    /// Those whose stored outcome cannot be read, and of which the log has the cause.
    unreadable: HashSet<TicketId>,
}

enum Cached {
    /// Announced, and nobody has asked for it yet.
    Encoded(RawSettledTicket),
    Decoded(Arc<SettledTicket>),
    /// Announced in a form that cannot be read, as the log says.
    Unreadable(TicketId),
}

/// Somebody who waits for a ticket.
pub struct Waiter {
    ticket: TicketId,
    settled: watch::Receiver<Option<Arc<SettledTicket>>>,
    outcomes: OutcomeCache,
}

impl OutcomeCache {
    /// Waits for the ticket from here on.
    pub fn wait_for(&self, ticket: TicketId) -> Waiter {
        let settled = match self.lock().pending.entry(ticket) {
            Entry::Occupied(entry) => entry.get().subscribe(),
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(None);
                entry.insert(sender);
                receiver
            }
        };
        Waiter { ticket, settled, outcomes: self.clone() }
    }

    /// Remembers these, and wakes who waits for one of them.
    pub fn on_settled(&self, tickets: Vec<RawSettledTicket>) {
        // Reading takes time, and all requests share the lock.
        let pending: Vec<bool> = {
            let state = self.lock();
            tickets.iter().map(|heard| state.pending.contains_key(&heard.ticket_id)).collect()
        };
        let heard = tickets.into_iter().zip(pending).map(|(heard, is_waited_for)| {
            match is_waited_for.then(|| heard.decode()) {
                Some(Ok(settled)) => Cached::Decoded(Arc::new(settled)),
                _ => Cached::Encoded(heard),
            }
        });
        let heard: Vec<Cached> = heard.collect();
        let mut state = self.lock();
        for heard in heard {
            state.remember(heard);
        }
    }

    /// Remembers this, and wakes who waits for it.
    pub fn remember(&self, settled: SettledTicket) -> Arc<SettledTicket> {
        let settled = Arc::new(settled);
        self.lock().remember(Cached::Decoded(settled.clone()));
        settled
    }

    /// The outcome of a ticket, if it is remembered. If it is not, that says nothing.
    pub fn get(&self, ticket: TicketId) -> Option<Arc<SettledTicket>> {
        self.lock().get(ticket)
    }

    /// Logs why the stored outcome of a ticket cannot be read: once, however often clients ask for it.
    pub fn note_unreadable(&self, unreadable: &Unreadable) {
        let ticket = unreadable.ticket;
        let is_new = {
            let mut state = self.lock();
            if state.unreadable.len() >= UNREADABLE_REMEMBERED {
                state.unreadable.clear();
            }
            state.unreadable.insert(ticket)
        };
        if is_new {
            error!(ticket.id = %ticket, "{unreadable}; its status is answered with 500 until the row is repaired");
        }
    }

    /// The tickets that are waited for at this moment.
    pub fn pending(&self) -> Vec<TicketId> {
        self.lock().pending.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave the maps half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, outcome: Cached) {
        let ticket = outcome.ticket();
        match self.cached.entry(ticket) {
            // One that is announced again is the same.
            Entry::Occupied(entry) if matches!(entry.get(), Cached::Decoded(_)) => {}
            Entry::Occupied(mut entry) => drop(entry.insert(outcome)),
            Entry::Vacant(entry) => {
                entry.insert(outcome);
                self.order.push_back((Instant::now(), ticket));
            }
        }
        self.forget_old(Instant::now());
        // Somebody may have come since it was seen who waits.
        if self.pending.contains_key(&ticket)
            && let Some(settled) = self.get(ticket)
            && let Some(waiting) = self.pending.remove(&ticket)
        {
            waiting.send_replace(Some(settled));
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((since, oldest)) = self.order.front() {
            let age = now.duration_since(*since);
            let is_old = age > REMEMBERED_FOR && self.order.len() > REMEMBERED;
            if !is_old && age <= REMEMBERED_AT_MOST_FOR {
                break;
            }
            self.cached.remove(oldest);
            self.order.pop_front();
        }
    }

    /// Reads a heard one, once.
    fn get(&mut self, ticket: TicketId) -> Option<Arc<SettledTicket>> {
        let cached = self.cached.get_mut(&ticket)?;
        let settled = match cached {
            Cached::Decoded(settled) => return Some(settled.clone()),
            Cached::Unreadable(_) => return None,
            Cached::Encoded(heard) => heard.decode(),
        };
        match settled.map(Arc::new) {
            Ok(settled) => {
                *cached = Cached::Decoded(settled.clone());
                Some(settled)
            }
            // A newer worker has written it. The database has it as well, and whoever waits is told what is looked up there.
            Err(error) => {
                warn!(ticket.log_id = %ticket, "cannot read the announced outcome of ticket {ticket}: {error}");
                *cached = Cached::Unreadable(ticket);
                None
            }
        }
    }
}

impl Cached {
    fn ticket(&self) -> TicketId {
        match self {
            Self::Encoded(heard) => heard.ticket_id,
            Self::Decoded(settled) => settled.ticket_id,
            Self::Unreadable(ticket) => *ticket,
        }
    }
}

impl Waiter {
    /// The ticket that is waited for.
    pub fn ticket(&self) -> TicketId {
        self.ticket
    }

    /// The ticket's outcome, if it comes within `patience`.
    pub async fn outcome_within(&mut self, patience: Duration) -> Option<Arc<SettledTicket>> {
        let settled = self.settled.wait_for(Option::is_some);
        timeout(patience, settled).await.ok()?.ok()?.clone()
    }
}

impl Waiter {
    /// The same, unless `stop` is cancelled first.
    pub async fn outcome_unless(
        &mut self,
        stop: &CancellationToken,
        patience: Duration,
    ) -> Option<Arc<SettledTicket>> {
        tokio::select! {
            settled = self.outcome_within(patience) => settled,
            () = stop.cancelled() => None,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut state = self.outcomes.lock();
        if let Entry::Occupied(entry) = state.pending.entry(self.ticket) {
            // Ours is one of those; the entry of somebody who came after ours was settled is not ours to remove.
            let ours = self.settled.borrow().is_none();
            if ours && entry.get().receiver_count() == 1 {
                entry.remove();
            }
        }
    }
}

/// Looks up, once a second and in one query, what is waited for, in case its announcement was lost.
pub async fn poll_pending(
    outcomes: OutcomeCache,
    database: Database,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut ticks = interval(LOOK_UP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return Ok(()),
        }
        outcomes.lock().forget_old(Instant::now());
        let pending = outcomes.pending();
        if pending.is_empty() {
            continue;
        }
        let count = pending.len();
        let found = database.query(move |connection| {
            let pending = pending.clone();
            Box::pin(async move { tickets::find_settled(connection, &pending).await })
        });
        match found.await {
            Ok(found) => {
                for found in found {
                    match found {
                        Ok(settled) => drop(outcomes.remember(settled)),
                        Err(unreadable) => outcomes.note_unreadable(&unreadable),
                    }
                }
            }
            Err(error) => {
                warn!("could not look up {count} tickets that are waited for: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::{Outcome, Timestamp};
    use hamro_shared::queue::{RawSettledEvent, SettledEvent};
    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn settled(n: u128) -> SettledTicket {
        let settled_at = Timestamp::from_unix_millis(0).unwrap();
        SettledTicket { ticket_id: TicketId(Uuid::from_u128(n)), settled_at, outcome: Outcome::Expired }
    }

    fn heard(tickets: Vec<SettledTicket>) -> Vec<RawSettledTicket> {
        let message = SettledEvent { tickets, bookings: 0, parcels: 0 };
        RawSettledEvent::decode(&message.encode()).unwrap().tickets
    }

    #[tokio::test]
    async fn an_outcome_that_comes_before_the_waiting_begins_is_not_missed() {
        let outcomes = OutcomeCache::default();
        let mut waiter = outcomes.wait_for(settled(1).ticket_id);
        outcomes.on_settled(heard(vec![settled(2), settled(1)]));
        assert_eq!(waiter.outcome_within(SOON).await.as_deref(), Some(&settled(1)));
    }

    #[tokio::test]
    async fn whoever_waits_for_an_outcome_that_cannot_be_read_is_told_what_is_looked_up() {
        let outcomes = OutcomeCache::default();
        let mut waiter = outcomes.wait_for(settled(1).ticket_id);
        let message = SettledEvent { tickets: vec![settled(1)], bookings: 1, parcels: 1 };
        let newer = String::from_utf8(message.encode()).unwrap().replace("expired", "refunded");
        outcomes.on_settled(RawSettledEvent::decode(newer.as_bytes()).unwrap().tickets);
        // It is tried, and logged, once.
        let ticket = settled(1).ticket_id;
        assert!(matches!(outcomes.lock().cached[&ticket], Cached::Unreadable(_)));
        assert_eq!(outcomes.get(ticket), None);
        assert_eq!(outcomes.pending(), [ticket]);
        outcomes.remember(settled(1));
        assert_eq!(waiter.outcome_within(SOON).await.as_deref(), Some(&settled(1)));
    }

    #[test]
    fn what_has_been_read_is_not_forgotten_for_an_announcement_that_comes_late() {
        let outcomes = OutcomeCache::default();
        let get = outcomes.remember(settled(1));
        outcomes.on_settled(heard(vec![settled(1)]));
        assert!(outcomes.get(settled(1).ticket_id).is_some_and(|still| Arc::ptr_eq(&still, &get)));
    }

    #[tokio::test]
    async fn all_who_wait_for_a_ticket_hear_of_it() {
        let outcomes = OutcomeCache::default();
        let mut waiters = [outcomes.wait_for(settled(1).ticket_id), outcomes.wait_for(settled(1).ticket_id)];
        outcomes.on_settled(heard(vec![settled(1)]));
        for waiter in &mut waiters {
            assert!(waiter.outcome_within(SOON).await.is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_outcome_is_remembered_for_a_while_whatever_their_number() {
        let outcomes = OutcomeCache::default();
        let count = REMEMBERED as u128;
        outcomes.on_settled(heard((0..3 * count).map(settled).collect()));
        advance(REMEMBERED_FOR).await;
        outcomes.on_settled(heard(vec![settled(3 * count)]));
        assert_eq!(outcomes.get(settled(0).ticket_id).as_deref(), Some(&settled(0)));
        assert_eq!(outcomes.lock().cached.len(), 3 * REMEMBERED + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn older_outcomes_are_remembered_up_to_a_number_and_an_age() {
        let outcomes = OutcomeCache::default();
        let count = REMEMBERED as u128;
        outcomes.on_settled(heard((0..count + 5).map(settled).collect()));
        advance(REMEMBERED_FOR + Duration::from_millis(1)).await;
        // One that comes again does not count again.
        outcomes.on_settled(heard((count..count + 5).map(settled).collect()));
        assert_eq!(outcomes.get(settled(4).ticket_id), None);
        assert_eq!(outcomes.get(settled(5).ticket_id).as_deref(), Some(&settled(5)));
        assert_eq!(outcomes.lock().cached.len(), REMEMBERED);
        advance(REMEMBERED_AT_MOST_FOR).await;
        outcomes.lock().forget_old(Instant::now());
        assert!(outcomes.lock().cached.is_empty() && outcomes.lock().order.is_empty());
    }

    #[tokio::test]
    async fn nothing_is_kept_for_a_waiter_that_has_gone() {
        let outcomes = OutcomeCache::default();
        let first = outcomes.wait_for(settled(1).ticket_id);
        let second = outcomes.wait_for(settled(1).ticket_id);
        drop(first);
        assert_eq!(outcomes.pending().len(), 1);
        drop(second);
        assert!(outcomes.pending().is_empty());
    }
}
