//! How many bookings are ahead of a ticket, and how long it will take: for clients that wait.
//!
//! The bookings that had arrived when the ticket was issued, minus those that have been settled since tracking began,
//! are those ahead of it. The first number belongs to the ticket and the second only grows, so a position never rises,
//! whatever workers hold, prefetch, lose or settle twice.
//!
//! Arrivals are counted by the instances themselves and exchanged as heartbeats ([`arrivals`], [`instances`]).
//! Departures are counted by announcements. Once a second both are compared with the broker's count of messages
//! ([`parcel_sizes`]) and with what workers say that they hold ([`workers`]), and a lasting [`discrepancy`] is corrected.
//!
//! An instance that was not connected all the time since a ticket was issued does not know its position.

mod arrivals;
mod discrepancy;
mod figures;
mod instances;
mod parcel_sizes;
mod recent;
mod timeline;
mod tracking;
mod workers;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::{Clock, Timestamp};
use hamro_shared::queue::{Counted, Heartbeat, ProcessState, Published, RawSettledEvent};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use uuid::Uuid;

use self::arrivals::ArrivedBefore;
pub use self::figures::QueueFigures;
use self::instances::Instances;
use self::parcel_sizes::ParcelSizes;
use self::recent::RecentBookings;
use self::tracking::Tracking;
use self::workers::Workers;
use crate::http::retry_after::whole_seconds;

/// Tracking begins with this reading of the queue's length. By then, each process has sent a heartbeat.
const FIRST_READING: u32 = 3;

/// A ticket's position in the queue. A value that is unknown is `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuePosition {
    /// How many bookings are ahead of it. Never rises.
    pub ahead: Option<u64>,
    /// The estimated number of seconds until it is settled. `null` while no worker is running.
    pub eta_seconds: Option<u64>,
}

/// The estimates of one instance.
#[derive(Clone)]
pub struct QueueEstimate {
    process: Uuid,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What this instance has published: messages, bookings, and when the tickets of the latest were issued.
    messages: u64,
    bookings: u64,
    recent: RecentBookings,
    /// Bookings that this instance has issued and the broker has not confirmed.
    in_flight: u64,
    /// Bookings that were published and settled since this instance started, at all instances as far as it has heard.
    arrivals: u64,
    departures: u64,
    /// Messages in the queue, at the last reading on this connection.
    queue_messages: Option<u64>,
    sizes: ParcelSizes,
    instances: Instances,
    workers: Workers,
    /// Readings of the queue's length on this connection.
    readings: u32,
    /// `None` until enough is known.
    tracking: Option<Tracking>,
}

impl QueueEstimate {
    /// `clock` is the one that issues tickets.
    pub fn new(clock: Clock) -> Self {
        Self { process: Uuid::new_v4(), clock, state: Arc::default() }
    }

    /// The connection that receives announcements and heartbeats is new or lost: what happened meanwhile is unknown.
    pub fn start_over(&self) {
        let mut state = self.lock();
        state.readings = 0;
        state.queue_messages = None;
        state.tracking = None;
        state.instances.clear();
        state.workers.clear();
    }

    /// Records the number of messages in the queue, unless the broker does not know it: while workers consume it, it has
    /// consumers.
    pub fn record_depth(&self, counted: Counted, now: Instant) {
        let mut state = self.lock();
        if counted.messages > 0 || counted.consumers > 0 || state.workers.alive(now) == 0 {
            state.on_reading(counted.messages.into(), self.now(), now);
        }
    }

    /// Records the announcement of a settled batch.
    pub fn on_settled(&self, event: &RawSettledEvent) {
        let mut state = self.lock();
        state.sizes.on_settled(event.parcels, event.bookings);
        // A booking that was settled earlier, and so perhaps counted, is not among the tickets.
        let settled = (event.tickets.len() as u64).min(event.bookings.into());
        state.departures += settled;
        if let Some(tracking) = &mut state.tracking {
            tracking.depart(signed(settled));
        }
    }

    /// Records the heartbeat of a worker or of another instance.
    pub fn on_heartbeat(&self, heartbeat: Heartbeat, now: Instant) {
        match heartbeat.state {
            ProcessState::Worker(worker) => self.lock().workers.on_heartbeat(heartbeat.process, worker, now),
            ProcessState::Api(published) if heartbeat.process != self.process => {
                self.lock().on_instance(heartbeat.process, published, self.now(), now);
            }
            ProcessState::Api(_) => {}
        }
    }

    /// This instance is about to publish the booking of a ticket.
    pub fn on_issued(&self, issued_at: Timestamp) {
        let mut state = self.lock();
        state.in_flight += 1;
        if let Some(Tracking { arrivals, departed, .. }) = &mut state.tracking {
            arrivals.on_issued(issued_at.unix_millis(), *departed);
        }
    }

    /// The broker has confirmed a parcel. `issued_at` has an element for each of its bookings.
    pub fn on_confirmed(&self, issued_at: impl ExactSizeIterator<Item = Timestamp>) {
        let (mut state, bookings) = (self.lock(), issued_at.len() as u64);
        state.in_flight = state.in_flight.saturating_sub(bookings);
        state.messages += 1;
        state.bookings += bookings;
        state.arrivals += bookings;
        issued_at.for_each(|at| state.recent.add(at.unix_millis()));
        state.sizes.on_published(1, bookings);
    }

    /// These bookings were not sent, or the broker has refused them.
    pub fn on_refused(&self, bookings: usize) {
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(bookings as u64);
        if let Some(tracking) = &mut state.tracking {
            tracking.arrivals.correct(-i64::try_from(bookings).unwrap_or(0));
        }
    }

    /// The connection that publishes is lost, and with it the confirms that are outstanding.
    pub fn on_publisher_lost(&self) {
        self.lock().in_flight = 0;
    }

    /// What to tell the other instances.
    pub fn published(&self) -> Published {
        let (mut state, now) = (self.lock(), self.now());
        Published {
            messages: state.messages,
            bookings: state.bookings,
            recent: state.recent.counts(now),
            // Tickets have whole milliseconds, so none of this one is later.
            recent_until: Some(now + 1),
            ..Published::default()
        }
    }

    /// Identifies this instance in its heartbeats.
    pub fn process(&self) -> Uuid {
        self.process
    }

    /// A heartbeat of this instance.
    pub fn heartbeat(&self, state: ProcessState) -> Heartbeat {
        Heartbeat { process: self.process, version: env!("CARGO_PKG_VERSION").to_owned(), state }
    }

    /// How many bookings are in the queue, or held by workers.
    pub fn depth(&self) -> Option<u64> {
        self.lock().depth()
    }

    /// How many workers are consuming the queue.
    pub fn workers(&self, now: Instant) -> Option<usize> {
        let state = self.lock();
        state.tracking.as_ref().map(|_| state.workers.alive(now))
    }

    /// How many bookings all workers together settle per second, to one decimal; `None` if that is unknown.
    pub fn drain_rate(&self, now: Instant) -> Option<f64> {
        self.lock().workers.rate(now).map(|rate| (rate * 10.0).round() / 10.0)
    }

    /// How long until a booking with this many ahead of it is settled. `None` if no worker is running.
    pub fn eta(&self, ahead: u64, now: Instant) -> Option<Duration> {
        self.lock().eta(ahead, now)
    }

    /// The position of a ticket that was issued at `issued_at`.
    pub fn position(&self, issued_at: Timestamp, now: Instant) -> QueuePosition {
        let state = self.lock();
        let Some(Tracking { arrivals, departed, .. }) = &state.tracking else {
            return QueuePosition::default();
        };
        let (ahead, at_most) = match arrivals.arrived_before(issued_at.unix_millis()) {
            ArrivedBefore::Bookings(arrived) => {
                let ahead = u64::try_from(arrived - departed).unwrap_or(0);
                (Some(ahead), Some(ahead))
            }
            // It was issued just now.
            ArrivedBefore::NotKnownYet => (None, state.depth()),
            ArrivedBefore::Unknown => (None, None),
        };
        let eta = at_most.and_then(|ahead| state.eta(ahead, now));
        QueuePosition { ahead, eta_seconds: eta.map(whole_seconds) }
    }

    fn now(&self) -> i64 {
        self.clock.now().unix_millis()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn on_instance(&mut self, instance: Uuid, published: Published, at: i64, now: Instant) {
        let increase = self.instances.on_heartbeat(instance, published, at, now);
        if let Some(increase) = increase {
            self.arrivals += increase.bookings;
            self.sizes.on_published(increase.messages, increase.bookings);
            if let Some(tracking) = &mut self.tracking {
                tracking.arrivals.on_others(&increase.spans);
            }
        }
        self.record_arrivals(at, now);
    }

    fn on_reading(&mut self, messages: u64, at: i64, now: Instant) {
        self.record_arrivals(at, now);
        self.queue_messages = Some(messages);
        self.readings = self.readings.saturating_add(1);
        let held = self.workers.held_bookings(now);
        let in_queue = self.sizes.bookings_in_last(messages, self.instances.average_size());
        let Some(tracking) = &mut self.tracking else {
            if let Some(held) = held
                && self.readings >= FIRST_READING
            {
                let bookings = in_queue + held;
                let has_others = self.instances.reported_until(now).is_some();
                self.tracking = Some(Tracking::starting_at(at, signed(bookings), has_others));
            }
            return;
        };
        match held {
            Some(held) => {
                tracking.compare(signed(in_queue + held), signed(self.in_flight));
            }
            None => tracking.skip_comparison(),
        }
    }

    fn record_arrivals(&mut self, at: i64, now: Instant) {
        let until = self.instances.reported_until(now);
        if let Some(Tracking { arrivals, departed, .. }) = &mut self.tracking {
            arrivals.record_until(until, at, *departed);
        }
    }

    fn depth(&self) -> Option<u64> {
        let tracking = self.tracking.as_ref()?;
        Some(u64::try_from(tracking.backlog()).unwrap_or(0))
    }

    /// With none ahead it is one second, whatever the rate is: workers settle the first booking in the queue at once.
    fn eta(&self, ahead: u64, now: Instant) -> Option<Duration> {
        if self.workers.alive(now) == 0 {
            return None;
        }
        if ahead == 0 {
            return Some(Duration::from_secs(1));
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        Duration::try_from_secs_f64(ahead as f64 / self.workers.rate(now)?).ok()
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
