//! The state that all request handlers share.

use std::ops::Deref;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::extract::FromRef;
use hamro_shared::database::{Database, DatabaseClock};
use hamro_shared::domain::{Clock, Ticket, TicketId};
use hamro_shared::queue::RoleFailures;
use hamro_shared::telemetry::traces::Traces;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::booking_policy::BookingPolicy;
use crate::broker::publisher::Publisher;
use crate::catalogue_cache::CatalogueCache;
use crate::early_rejection::EarlyRejection;
use crate::http::admin_auth::AdminAuth;
use crate::http::bound::Bound;
use crate::http::client_address::TrustedProxies;
use crate::http::extract::BodyTimeout;
use crate::http::own_writes::OwnWrites;
use crate::http::response_memory::ResponseMemory;
use crate::http::sse::SseLimiter;
use crate::installation::Installation;
use crate::installation::reports::Reports;
use crate::intake::Intake;
use crate::metrics::ApiMetrics;
use crate::outcomes::Outcomes;
use crate::outcomes::queue_estimate::{QueueEstimate, QueuePosition};
use crate::outcomes::watermark::Watermark;
use crate::seat_feed::SeatFeed;
use crate::seat_maps::SeatMaps;

/// A shared reference to [`App`]; cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<App>);

/// Everything that handlers use.
pub struct App {
    pub database: Database,
    pub clock: Clock,
    pub publisher: Publisher,
    /// The connections to the broker that do not work.
    pub broker_failures: RoleFailures,
    /// Whether operators let bookings be accepted.
    pub intake: Intake,
    pub early_rejection: EarlyRejection,
    pub outcomes: Outcomes,
    pub watermark: Watermark,
    pub queue_estimate: QueueEstimate,
    pub seat_feed: SeatFeed,
    pub seat_maps: SeatMaps,
    /// The ready bodies of the catalogue.
    pub catalogue: CatalogueCache,
    pub own_writes: OwnWrites,
    pub response_memory: ResponseMemory,
    pub sse_limiter: SseLimiter,
    pub body_timeout: BodyTimeout,
    /// The responses that are held until an outcome is known.
    pub waits: Arc<Bound>,
    /// Cancelled once this instance is shutting down. It still accepts requests until `stopping`.
    pub draining: CancellationToken,
    /// Cancelled once this instance accepts no more requests.
    pub stopping: CancellationToken,
    pub schema_ready: watch::Receiver<bool>,
    pub database_clock: DatabaseClock,
    pub policy: BookingPolicy,
    pub admin_auth: Arc<AdminAuth>,
    pub metrics: ApiMetrics,
    /// For the live view.
    pub installation: Installation,
    pub reports: Reports,
    pub traces: Traces,
}

impl AppState {
    pub fn new(app: App) -> Self {
        Self(Arc::new(app))
    }

    /// A reference that keeps nothing alive. The publishing task ends once all others are dropped.
    pub fn downgrade(&self) -> Weak<App> {
        Arc::downgrade(&self.0)
    }
}

impl App {
    /// Whether bookings are accepted, perhaps at a limited rate.
    pub fn is_accepting(&self) -> bool {
        self.intake.is_open() && self.publisher.is_up() && !self.is_queue_full()
    }

    /// Whether the queue is full. The limit is approximate: what other instances accept is known half a second later.
    pub fn is_queue_full(&self) -> bool {
        self.queue_estimate.depth().is_some_and(|depth| depth >= self.policy.queue_max)
    }

    /// How long a client should wait when the queue is full: the time that the workers need for a tenth of it.
    pub fn retry_hint(&self, now: Instant) -> Option<Duration> {
        self.queue_estimate.eta(self.queue_estimate.depth()?.div_ceil(10), now)
    }

    /// The position of a ticket in the queue.
    pub fn position(&self, ticket: TicketId) -> QueuePosition {
        self.queue_estimate.position(ticket.issued_at(), Instant::now())
    }

    /// A new ticket whose deadline is `valid_for` from now.
    pub fn issue_ticket(&self, valid_for: Duration) -> Ticket {
        let now = self.clock.now();
        Ticket { id: self.policy.ticket_keys.issue(now), deadline: now + valid_for }
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

impl FromRef<AppState> for Arc<AdminAuth> {
    fn from_ref(state: &AppState) -> Self {
        state.admin_auth.clone()
    }
}

impl FromRef<AppState> for BodyTimeout {
    fn from_ref(state: &AppState) -> Self {
        state.body_timeout
    }
}

impl FromRef<AppState> for TrustedProxies {
    fn from_ref(state: &AppState) -> Self {
        state.response_memory.proxies().clone()
    }
}
