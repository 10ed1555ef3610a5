//! The tickets whose outcomes requests wait for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::{SettledTicket, TicketId};
use hamro_shared::queue::RawSettledTicket;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The awaited tickets. A ticket has an entry as long as it has a waiter.
#[derive(Clone, Default)]
pub struct OutcomeWaiters(Arc<Mutex<HashMap<TicketId, Entry>>>);

struct Entry {
    outcome: watch::Sender<Option<Arc<SettledTicket>>>,
    /// Counted under the lock. The sender's own receiver count falls only after a waiter has released it.
    waiters: usize,
}

/// One waiter for the outcome of a ticket. Dropping it removes its registration, and no other.
pub struct OutcomeWaiter {
    ticket: TicketId,
    outcome: watch::Receiver<Option<Arc<SettledTicket>>>,
    waiters: OutcomeWaiters,
}

impl OutcomeWaiters {
    /// How many tickets are awaited.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Registers a waiter.
    pub fn register(&self, ticket: TicketId) -> OutcomeWaiter {
        let mut entries = self.lock();
        let entry =
            entries.entry(ticket).or_insert_with(|| Entry { outcome: watch::Sender::new(None), waiters: 0 });
        entry.waiters += 1;
        OutcomeWaiter { ticket, outcome: entry.outcome.subscribe(), waiters: self.clone() }
    }

    /// The announced outcomes that requests wait for.
    pub fn awaited(&self, announced: &[Arc<RawSettledTicket>]) -> Vec<Arc<RawSettledTicket>> {
        let entries = self.lock();
        announced.iter().filter(|announced| entries.contains_key(&announced.ticket_id)).cloned().collect()
    }

    /// Wakes the waiters of these tickets.
    pub fn wake(&self, settled: &[Arc<SettledTicket>]) {
        let entries = self.lock();
        for settled in settled {
            if let Some(entry) = entries.get(&settled.ticket_id) {
                entry.outcome.send_replace(Some(settled.clone()));
            }
        }
    }

    /// The awaited tickets that have no outcome yet.
    pub fn pending(&self) -> Vec<TicketId> {
        let entries = self.lock();
        let pending = entries.iter().filter(|(_, entry)| entry.outcome.borrow().is_none());
        pending.map(|(ticket, _)| *ticket).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TicketId, Entry>> {
        // A panic while the lock is held cannot leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OutcomeWaiter {
    pub fn ticket(&self) -> TicketId {
        self.ticket
    }

    /// Waits for the ticket's outcome; `None` if it does not arrive within `wait`.
    pub async fn wait_for_outcome(&mut self, wait: Duration) -> Option<Arc<SettledTicket>> {
        let outcome = self.outcome.wait_for(Option::is_some);
        timeout(wait, outcome).await.ok()?.ok()?.clone()
    }

    /// Waits for the ticket's outcome; `None` if it does not arrive within `wait` and before `stop` is cancelled.
    pub async fn wait_for_outcome_or_stop(
        &mut self,
        stop: &CancellationToken,
        wait: Duration,
    ) -> Option<Arc<SettledTicket>> {
        tokio::select! {
            outcome = self.wait_for_outcome(wait) => outcome,
            () = stop.cancelled() => None,
        }
    }
}

impl Drop for OutcomeWaiter {
    fn drop(&mut self) {
        let mut entries = self.waiters.lock();
        if let Some(entry) = entries.get_mut(&self.ticket) {
            entry.waiters -= 1;
            if entry.waiters == 0 {
                entries.remove(&self.ticket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::settled;
    use super::*;

    #[tokio::test]
    async fn all_waiters_of_a_ticket_receive_its_outcome() {
        let waiters = OutcomeWaiters::default();
        let mut registered = [waiters.register(settled(1).ticket_id), waiters.register(settled(1).ticket_id)];
        waiters.wake(&[Arc::new(settled(1))]);
        assert!(waiters.pending().is_empty());
        for waiter in &mut registered {
            assert!(waiter.wait_for_outcome(Duration::ZERO).await.is_some());
        }
    }

    #[test]
    fn a_ticket_is_forgotten_when_its_last_waiter_is_dropped() {
        let waiters = OutcomeWaiters::default();
        let first = waiters.register(settled(1).ticket_id);
        let second = waiters.register(settled(1).ticket_id);
        drop(first);
        assert_eq!(waiters.pending(), [settled(1).ticket_id]);
        drop(second);
        assert!(waiters.lock().is_empty());
    }
}
