//! What handlers are given.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use hamro_shared::database::{Database, DatabaseClock};
use hamro_shared::domain::{Clock, Ticket, TicketId, TicketKeys};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::AdminToken;
use crate::bookings::QueuePosition;
use crate::catalogue::SeatMapBuilds;
use crate::events::Streams;
use crate::intake::{Gauge, Outcomes, Publisher, Watermark};
use crate::live_seats::LiveSeats;

/// Everything a handler may need, shared by all of them: a clone is one count.
#[derive(Clone)]
pub struct AppState(Arc<App>);

/// The parts of it.
pub struct App {
    pub database: Database,
    pub clock: Clock,
    pub publisher: Publisher,
    pub outcomes: Outcomes,
    pub watermark: Watermark,
    pub gauge: Gauge,
    pub live_seats: LiveSeats,
    pub seat_map_builds: SeatMapBuilds,
    pub streams: Streams,
    /// Cancelled once this instance takes no more requests.
    pub stopping: CancellationToken,
    pub schema_ready: watch::Receiver<bool>,
    pub database_clock: DatabaseClock,
    pub rules: Rules,
}

/// What is decided once, by settings.
#[derive(Debug)]
pub struct Rules {
    pub ticket_keys: TicketKeys,
    pub admin_token: AdminToken,
    /// The most seats that one booking may ask for.
    pub max_seats: usize,
    /// How long after it was issued a ticket may be sold.
    pub booking_deadline: Duration,
    /// The same on the endpoint that waits.
    pub booking_wait: Duration,
    /// The most bookings that may wait in the queue.
    pub queue_max: u64,
    /// The longest that a client may have an answer held.
    pub max_wait: Duration,
}

impl AppState {
    pub fn new(app: App) -> Self {
        Self(Arc::new(app))
    }
}

impl App {
    /// Whether a booking that comes now is taken. The bound is soft: the length of the queue is as of a second ago.
    pub fn is_accepting(&self, now: Instant) -> bool {
        let is_full = self.gauge.depth(now).is_some_and(|depth| depth >= self.rules.queue_max);
        self.publisher.is_up() && !is_full
    }

    /// In how long a queue that is full has noticeable room again: the time that the workers take for a tenth of it.
    pub fn room_in(&self, now: Instant) -> Option<Duration> {
        self.gauge.eta(self.gauge.depth(now)?.div_ceil(10), now)
    }

    /// Where a ticket stands in the queue.
    pub fn position(&self, ticket: TicketId) -> QueuePosition {
        let now = Instant::now();
        let ahead = self.gauge.ahead(ticket.issued_at(), self.clock.now(), now);
        let eta = ahead.and_then(|ahead| self.gauge.eta(ahead, now));
        QueuePosition { ahead, eta_seconds: eta.map(whole_seconds) }
    }

    /// A new ticket, which may be sold for as long as `patience`.
    pub fn issue_ticket(&self, patience: Duration) -> Ticket {
        let now = self.clock.now();
        Ticket { id: self.rules.ticket_keys.issue(now), deadline: now + patience }
    }
}

impl Deref for AppState {
    type Target = App;

    fn deref(&self) -> &App {
        &self.0
    }
}

impl FromRef<AppState> for Database {
    fn from_ref(state: &AppState) -> Self {
        state.database.clone()
    }
}

impl FromRef<AppState> for AdminToken {
    fn from_ref(state: &AppState) -> Self {
        state.rules.admin_token.clone()
    }
}

/// A duration as a client is told it: no less than it is.
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
