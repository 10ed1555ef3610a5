//! The outcomes of tickets: the cache, the requests that wait for one, the watermark, and the estimated wait.
//!
//! An outcome arrives as a worker's announcement. It is cached for a while and wakes the requests that wait for it. An
//! announcement may be lost or late, so one query per second looks up all awaited tickets.

pub mod cache;
pub mod queue_estimate;
mod unreadable;
mod waiters;
pub mod watermark;

use std::sync::Arc;
use std::time::Duration;

use hamro_shared::database::Database;
use hamro_shared::database::tickets::{self, Unreadable};
use hamro_shared::domain::{Booking, Outcome, SettledTicket, TicketId};
use hamro_shared::queue::RawSettledTicket;
use hamro_shared::telemetry::metrics::{Counter, MetricsRegistry};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::cache::OutcomeCache;
use self::unreadable::UnreadableTickets;
pub use self::waiters::OutcomeWaiter;
use self::waiters::OutcomeWaiters;

const POLL_PENDING_EVERY: Duration = Duration::from_secs(1);

/// How many awaited tickets one query looks up.
const LOOKED_UP_AT_ONCE: usize = 1_000;

/// The outcome cache and the waiters, which have a lock each.
///
/// No waiter misses an outcome, because both sides keep an order. A request first registers its waiter, and only then
/// publishes the booking or calls [`get`](Self::get). An arriving outcome is first cached, and only then passed to the
/// waiters. So either the waiter is registered in time or the request finds the outcome in the cache.
#[derive(Clone)]
pub struct Outcomes {
    cache: Arc<OutcomeCache>,
    waiters: OutcomeWaiters,
    unreadable: Arc<UnreadableTickets>,
    lookup_failures: Counter,
    on_sale: Arc<dyn Fn(&Booking) + Send + Sync>,
}

impl Outcomes {
    /// `on_sale` is called with a booking that was read from the database before its announcement, before anybody learns of it.
    pub fn new(on_sale: impl Fn(&Booking) + Send + Sync + 'static) -> Self {
        Self {
            cache: Arc::default(),
            waiters: OutcomeWaiters::default(),
            unreadable: Arc::default(),
            lookup_failures: Counter::default(),
            on_sale: Arc::new(on_sale),
        }
    }

    /// Exports how many tickets requests wait for, and how often their look-up has failed.
    #[expect(clippy::cast_precision_loss, reason = "metrics")]
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let waiters = self.waiters.clone();
        registry.read_gauge(
            "awaited_tickets",
            "Tickets whose outcome requests and event streams of this instance wait for",
            move || Some(waiters.len() as f64),
        );
        let failures = self.lookup_failures.clone();
        registry.read_counter(
            "outcome_lookup_failures",
            "Failed look-ups of the outcomes of awaited tickets in the database, which are repeated every second",
            move || Some(failures.get() as f64),
        );
    }

    /// Registers a waiter. Call this before the booking is published, or before [`get`](Self::get).
    pub fn wait_for(&self, ticket: TicketId) -> OutcomeWaiter {
        self.waiters.register(ticket)
    }

    /// The outcome of a ticket, if it is cached and readable. A ticket without one may still have been settled.
    pub fn get(&self, ticket: TicketId) -> Option<Arc<SettledTicket>> {
        self.cache.get(ticket)
    }

    /// Caches announced outcomes and wakes their waiters.
    ///
    /// An announcement takes each of the two locks once, and once more if any of its outcomes is awaited. Those
    /// outcomes are decoded here, between the locks; all others when they are first read.
    pub fn on_settled(&self, announced: Vec<RawSettledTicket>) {
        let announced: Vec<_> = announced.into_iter().map(Arc::new).collect();
        self.cache.insert_announced(&announced);
        let awaited = self.waiters.awaited(&announced);
        if !awaited.is_empty() {
            self.waiters.wake(&self.cache.decode(&awaited));
        }
    }

    /// Caches an outcome that was read from the database, or announced by a release, and wakes its waiters. Returns the
    /// latest version that is known.
    pub fn record(&self, settled: SettledTicket) -> Arc<SettledTicket> {
        let settled = Arc::new(settled);
        if let Outcome::Confirmed { booking } = &settled.outcome
            && !self.cache.knows(&settled)
        {
            (self.on_sale)(booking);
        }
        let settled = self.cache.insert_decoded(settled);
        self.waiters.wake(std::slice::from_ref(&settled));
        settled
    }

    /// Caches the outcomes of a booking whose seats were released.
    pub fn on_released(&self, tickets: Vec<SettledTicket>) {
        for settled in tickets {
            self.record(settled);
        }
    }

    /// Forgets all outcomes: the database was restored. Waiters go on waiting.
    pub fn forget(&self) {
        self.cache.clear();
    }

    /// Logs, once per ticket, why its stored outcome cannot be read.
    pub fn log_unreadable(&self, unreadable: &Unreadable) {
        self.unreadable.log_once(unreadable);
    }

    /// Looks up the awaited tickets once a second, because their announcements may have been lost.
    pub async fn poll_pending(self, database: Database, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(POLL_PENDING_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let polling = async {
            loop {
                ticks.tick().await;
                self.cache.evict_old();
                // Some at a time: what one query has found is not lost if a later one fails.
                for tickets in self.waiters.pending().chunks(LOOKED_UP_AT_ONCE) {
                    if !self.look_up(&database, tickets.to_vec()).await {
                        break;
                    }
                }
            }
        };
        stop.run_until_cancelled(polling).await;
        Ok(())
    }

    /// Returns whether the database has responded.
    async fn look_up(&self, database: &Database, tickets: Vec<TicketId>) -> bool {
        let count = tickets.len();
        let query = database.query(move |connection| {
            let tickets = tickets.clone();
            Box::pin(async move { tickets::find_settled(connection, &tickets).await })
        });
        match query.await {
            Ok(found) => {
                for outcome in found {
                    match outcome {
                        Ok(settled) => drop(self.record(settled)),
                        Err(unreadable) => self.log_unreadable(&unreadable),
                    }
                }
                true
            }
            Err(error) => {
                self.lookup_failures.inc();
                warn!("cannot look up the outcomes of {count} awaited tickets: {error}");
                false
            }
        }
    }
}

#[cfg(test)]
mod fixtures {
    use hamro_shared::domain::{Booking, CustomerName, Email, Outcome, SeatId, Timestamp};
    use hamro_shared::queue::{RawSettledEvent, SettledEvent};
    use uuid::Uuid;

    use super::*;

    pub fn settled(n: u128) -> SettledTicket {
        let settled_at = Timestamp::from_unix_millis(0).unwrap();
        SettledTicket { ticket_id: TicketId(Uuid::from_u128(n)), settled_at, outcome: Outcome::Expired }
    }

    /// A confirmed ticket, `released` of whose seats were released.
    pub fn booked(n: u128, released: i32) -> SettledTicket {
        let SettledTicket { ticket_id, settled_at, .. } = settled(n);
        let booking = Booking::of_sale(1, CustomerName::erased(), Email::erased(), settled_at, Vec::new());
        let booking = booking.with_released((1..=released).map(SeatId).collect());
        SettledTicket { ticket_id, settled_at, outcome: Outcome::Confirmed { booking } }
    }

    /// The outcomes of these tickets, as an instance receives them.
    pub fn received(numbers: impl IntoIterator<Item = u128>) -> Vec<RawSettledTicket> {
        RawSettledEvent::decode(&message(numbers)).unwrap().tickets
    }

    /// An outcome that this version cannot decode.
    pub fn received_from_newer_worker(n: u128) -> RawSettledTicket {
        let message = String::from_utf8(message([n])).unwrap().replace("expired", "refunded");
        RawSettledEvent::decode(message.as_bytes()).unwrap().tickets.remove(0)
    }

    fn message(numbers: impl IntoIterator<Item = u128>) -> Vec<u8> {
        let tickets = numbers.into_iter().map(settled).collect();
        SettledEvent { tickets, bookings: 0, parcels: 0, sales: vec![] }.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{received, received_from_newer_worker, settled};
    use super::*;

    #[tokio::test]
    async fn an_outcome_announced_between_registering_and_waiting_is_received() {
        let outcomes = Outcomes::new(|_| ());
        let mut waiter = outcomes.wait_for(settled(1).ticket_id);
        outcomes.on_settled(received([2, 1]));
        assert_eq!(waiter.wait_for_outcome(Duration::ZERO).await.as_deref(), Some(&settled(1)));
    }

    #[tokio::test]
    async fn a_waiter_and_a_later_request_share_one_decoded_outcome() {
        let outcomes = Outcomes::new(|_| ());
        let mut waiter = outcomes.wait_for(settled(1).ticket_id);
        outcomes.on_settled(received([1]));
        let waited_for = waiter.wait_for_outcome(Duration::ZERO).await.unwrap();
        assert!(Arc::ptr_eq(&waited_for, &outcomes.get(settled(1).ticket_id).unwrap()));
    }

    #[tokio::test]
    async fn a_waiter_for_an_unreadable_announcement_receives_the_stored_outcome() {
        let outcomes = Outcomes::new(|_| ());
        let ticket = settled(1).ticket_id;
        let mut waiter = outcomes.wait_for(ticket);
        outcomes.on_settled(vec![received_from_newer_worker(1)]);
        assert_eq!(outcomes.get(ticket), None);
        assert_eq!(outcomes.waiters.pending(), [ticket]);
        outcomes.record(settled(1));
        assert_eq!(waiter.wait_for_outcome(Duration::ZERO).await.as_deref(), Some(&settled(1)));
    }
}
