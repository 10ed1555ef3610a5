//! What handlers are given.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use hamro_shared::domain::{Clock, Ticket, TicketKeys};
use sqlx::postgres::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::admin::AdminToken;
use crate::intake::{Outcomes, Publisher, Watermark};

/// Everything a handler may need, shared by all of them.
#[derive(Clone)]
pub struct AppState {
    pub pool: PgPool,
    pub clock: Clock,
    pub publisher: Publisher,
    pub outcomes: Outcomes,
    pub watermark: Watermark,
    /// Cancelled once this instance takes no more requests.
    pub stopping: CancellationToken,
    pub schema_ready: watch::Receiver<bool>,
    pub rules: Arc<Rules>,
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
    /// The longest that a client may have an answer held.
    pub max_wait: Duration,
}

impl AppState {
    /// A new ticket, which may be sold for as long as `patience`.
    pub fn issue_ticket(&self, patience: Duration) -> Ticket {
        let now = self.clock.now();
        Ticket { id: self.rules.ticket_keys.issue(now), deadline: now + patience }
    }
}

impl FromRef<AppState> for PgPool {
    fn from_ref(state: &AppState) -> Self {
        state.pool.clone()
    }
}

impl FromRef<AppState> for AdminToken {
    fn from_ref(state: &AppState) -> Self {
        state.rules.admin_token.clone()
    }
}
