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

type Announced = watch::Sender<Option<Arc<SettledTicket>>>;

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
pub struct Outcomes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waited_for: HashMap<TicketId, Announced>,
    remembered: HashMap<TicketId, Remembered>,
    /// Those that are remembered, and since when, the oldest first.
    order: VecDeque<(Instant, TicketId)>,
    /// Those whose stored outcome cannot be read, and of which the log has the cause.
    unreadable: HashSet<TicketId>,
}

enum Remembered {
    /// Announced, and nobody has asked for it yet.
    Heard(RawSettledTicket),
    Read(Arc<SettledTicket>),
    /// Announced in a form that cannot be read, as the log says.
    Unreadable(TicketId),
}

/// Somebody who waits for a ticket.
pub struct Waiter {
    ticket: TicketId,
    announced: watch::Receiver<Option<Arc<SettledTicket>>>,
    outcomes: Outcomes,
}

impl Outcomes {
    /// Waits for the ticket from here on.
    pub fn wait_for(&self, ticket: TicketId) -> Waiter {
        let announced = match self.lock().waited_for.entry(ticket) {
            Entry::Occupied(entry) => entry.get().subscribe(),
            Entry::Vacant(entry) => {
                let (sender, receiver) = watch::channel(None);
                entry.insert(sender);
                receiver
            }
        };
        Waiter { ticket, announced, outcomes: self.clone() }
    }

    /// Remembers these, and wakes who waits for one of them.
    pub fn hear(&self, tickets: Vec<RawSettledTicket>) {
        // Reading takes time, and all requests share the lock.
        let waited_for: Vec<bool> = {
            let state = self.lock();
            tickets.iter().map(|heard| state.waited_for.contains_key(&heard.ticket_id)).collect()
        };
        let heard = tickets.into_iter().zip(waited_for).map(|(heard, is_waited_for)| {
            match is_waited_for.then(|| heard.decode()) {
                Some(Ok(settled)) => Remembered::Read(Arc::new(settled)),
                _ => Remembered::Heard(heard),
            }
        });
        let heard: Vec<Remembered> = heard.collect();
        let mut state = self.lock();
        for heard in heard {
            state.remember(heard);
        }
    }

    /// Remembers this, and wakes who waits for it.
    pub fn remember(&self, settled: SettledTicket) -> Arc<SettledTicket> {
        let settled = Arc::new(settled);
        self.lock().remember(Remembered::Read(settled.clone()));
        settled
    }

    /// The outcome of a ticket, if it is remembered. If it is not, that says nothing.
    pub fn known(&self, ticket: TicketId) -> Option<Arc<SettledTicket>> {
        self.lock().known(ticket)
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
    pub fn waited_for(&self) -> Vec<TicketId> {
        self.lock().waited_for.keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock can leave the maps half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, outcome: Remembered) {
        let ticket = outcome.ticket();
        match self.remembered.entry(ticket) {
            // One that is announced again is the same.
            Entry::Occupied(entry) if matches!(entry.get(), Remembered::Read(_)) => {}
            Entry::Occupied(mut entry) => drop(entry.insert(outcome)),
            Entry::Vacant(entry) => {
                entry.insert(outcome);
                self.order.push_back((Instant::now(), ticket));
            }
        }
        self.forget_old(Instant::now());
        // Somebody may have come since it was seen who waits.
        if self.waited_for.contains_key(&ticket)
            && let Some(settled) = self.known(ticket)
            && let Some(waiting) = self.waited_for.remove(&ticket)
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
            self.remembered.remove(oldest);
            self.order.pop_front();
        }
    }

    /// Reads a heard one, once.
    fn known(&mut self, ticket: TicketId) -> Option<Arc<SettledTicket>> {
        let remembered = self.remembered.get_mut(&ticket)?;
        let settled = match remembered {
            Remembered::Read(settled) => return Some(settled.clone()),
            Remembered::Unreadable(_) => return None,
            Remembered::Heard(heard) => heard.decode(),
        };
        match settled.map(Arc::new) {
            Ok(settled) => {
                *remembered = Remembered::Read(settled.clone());
                Some(settled)
            }
            // A newer worker has written it. The database has it as well, and whoever waits is told what is looked up there.
            Err(error) => {
                warn!(ticket.log_id = %ticket, "cannot read the announced outcome of ticket {ticket}: {error}");
                *remembered = Remembered::Unreadable(ticket);
                None
            }
        }
    }
}

impl Remembered {
    fn ticket(&self) -> TicketId {
        match self {
            Self::Heard(heard) => heard.ticket_id,
            Self::Read(settled) => settled.ticket_id,
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
        let settled = self.announced.wait_for(Option::is_some);
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
        if let Entry::Occupied(entry) = state.waited_for.entry(self.ticket) {
            // Ours is one of those; the entry of somebody who came after ours was settled is not ours to remove.
            let ours = self.announced.borrow().is_none();
            if ours && entry.get().receiver_count() == 1 {
                entry.remove();
            }
        }
    }
}

/// Looks up, once a second and in one query, what is waited for, in case its announcement was lost.
pub async fn look_up_waited_for(
    outcomes: Outcomes,
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
        let waited_for = outcomes.waited_for();
        if waited_for.is_empty() {
            continue;
        }
        let count = waited_for.len();
        let found = database.query(move |connection| {
            let waited_for = waited_for.clone();
            Box::pin(async move { tickets::find_settled(connection, &waited_for).await })
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
        let outcomes = Outcomes::default();
        let mut waiter = outcomes.wait_for(settled(1).ticket_id);
        outcomes.hear(heard(vec![settled(2), settled(1)]));
        assert_eq!(waiter.outcome_within(SOON).await.as_deref(), Some(&settled(1)));
    }

    #[tokio::test]
    async fn whoever_waits_for_an_outcome_that_cannot_be_read_is_told_what_is_looked_up() {
        let outcomes = Outcomes::default();
        let mut waiter = outcomes.wait_for(settled(1).ticket_id);
        let message = SettledEvent { tickets: vec![settled(1)], bookings: 1, parcels: 1 };
        let newer = String::from_utf8(message.encode()).unwrap().replace("expired", "refunded");
        outcomes.hear(RawSettledEvent::decode(newer.as_bytes()).unwrap().tickets);
        // It is tried, and logged, once.
        let ticket = settled(1).ticket_id;
        assert!(matches!(outcomes.lock().remembered[&ticket], Remembered::Unreadable(_)));
        assert_eq!(outcomes.known(ticket), None);
        assert_eq!(outcomes.waited_for(), [ticket]);
        outcomes.remember(settled(1));
        assert_eq!(waiter.outcome_within(SOON).await.as_deref(), Some(&settled(1)));
    }

    #[test]
    fn what_has_been_read_is_not_forgotten_for_an_announcement_that_comes_late() {
        let outcomes = Outcomes::default();
        let known = outcomes.remember(settled(1));
        outcomes.hear(heard(vec![settled(1)]));
        assert!(outcomes.known(settled(1).ticket_id).is_some_and(|still| Arc::ptr_eq(&still, &known)));
    }

    #[tokio::test]
    async fn all_who_wait_for_a_ticket_hear_of_it() {
        let outcomes = Outcomes::default();
        let mut waiters = [outcomes.wait_for(settled(1).ticket_id), outcomes.wait_for(settled(1).ticket_id)];
        outcomes.hear(heard(vec![settled(1)]));
        for waiter in &mut waiters {
            assert!(waiter.outcome_within(SOON).await.is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_outcome_is_remembered_for_a_while_whatever_their_number() {
        let outcomes = Outcomes::default();
        let count = REMEMBERED as u128;
        outcomes.hear(heard((0..3 * count).map(settled).collect()));
        advance(REMEMBERED_FOR).await;
        outcomes.hear(heard(vec![settled(3 * count)]));
        assert_eq!(outcomes.known(settled(0).ticket_id).as_deref(), Some(&settled(0)));
        assert_eq!(outcomes.lock().remembered.len(), 3 * REMEMBERED + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn older_outcomes_are_remembered_up_to_a_number_and_an_age() {
        let outcomes = Outcomes::default();
        let count = REMEMBERED as u128;
        outcomes.hear(heard((0..count + 5).map(settled).collect()));
        advance(REMEMBERED_FOR + Duration::from_millis(1)).await;
        // One that comes again does not count again.
        outcomes.hear(heard((count..count + 5).map(settled).collect()));
        assert_eq!(outcomes.known(settled(4).ticket_id), None);
        assert_eq!(outcomes.known(settled(5).ticket_id).as_deref(), Some(&settled(5)));
        assert_eq!(outcomes.lock().remembered.len(), REMEMBERED);
        advance(REMEMBERED_AT_MOST_FOR).await;
        outcomes.lock().forget_old(Instant::now());
        assert!(outcomes.lock().remembered.is_empty() && outcomes.lock().order.is_empty());
    }

    #[tokio::test]
    async fn nothing_is_kept_for_a_waiter_that_has_gone() {
        let outcomes = Outcomes::default();
        let first = outcomes.wait_for(settled(1).ticket_id);
        let second = outcomes.wait_for(settled(1).ticket_id);
        drop(first);
        assert_eq!(outcomes.waited_for().len(), 1);
        drop(second);
        assert!(outcomes.waited_for().is_empty());
    }
}
