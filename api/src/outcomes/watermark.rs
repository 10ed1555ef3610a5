//! The largest settled ticket id: a ticket beyond it cannot have been settled, and its status costs no query.
//!
//! Ids sort by the time they were issued, and tickets are settled about in that order, so in a rush almost every ticket
//! that is asked for lies beyond the watermark.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hamro_shared::database::Database;
use hamro_shared::domain::{Clock, TicketId};
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;
use tokio::task::spawn;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// How often it is looked up at most, however many ask.
const REFRESH_EVERY: Duration = Duration::from_millis(250);
/// An older one counts for nothing.
const STALE_AFTER: Duration = Duration::from_secs(1);
/// Ids from further ahead of the clock are left out: one instance with a wrong clock must not make all others ask
/// Postgres. Of a ticket that is further ahead nothing is known.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// The watermark as one instance sees it, shared by all requests.
#[derive(Clone)]
pub struct Watermark(Arc<Inner>);

struct Inner {
    database: Database,
    clock: Clock,
    seen: RwLock<Option<Seen>>,
    /// Held by the one request that looks it up; the moment of the last try, so that a database that is down is not
    /// asked by everybody in turn.
    refreshing: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy)]
struct Seen {
    largest: TicketId,
    /// Up to which ticket the answer holds.
    bound: TicketId,
    at: Instant,
}

impl Watermark {
    pub fn new(database: Database, clock: Clock) -> Self {
        Self(Arc::new(Inner { database, clock, seen: RwLock::new(None), refreshing: Mutex::new(None) }))
    }

    /// Whether the ticket certainly has not been settled. `false` says nothing.
    pub async fn is_before(&self, ticket: TicketId) -> bool {
        if self.seen().is_none_or(|seen| seen.at.elapsed() >= REFRESH_EVERY) {
            // In a task of its own: the client that triggered it may hang up while others wait for the result. After a panic
            // the watermark is unknown.
            let watermark = self.clone();
            let _ = spawn(async move { watermark.refresh().await }).await;
        }
        self.seen().is_some_and(|seen| seen.says_unsettled(ticket))
    }

    /// Looks it up, unless somebody has just done so or tried to.
    async fn refresh(&self) {
        let mut last_try = self.0.refreshing.lock().await;
        if last_try.is_some_and(|at| at.elapsed() < REFRESH_EVERY) {
            return;
        }
        // What is settled from here on is not in the answer, so it is as old as this moment.
        let at = Instant::now();
        let bound = TicketId::last_of(self.0.clock.now() + CLOCK_SKEW);
        match timeout(STALE_AFTER, self.look_up(bound)).await {
            Ok(Ok(largest)) => {
                let seen = Seen { largest, bound, at };
                *self.0.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(seen);
            }
            Ok(Err(error)) => warn!("cannot look up the watermark: {error}"),
            Err(_) => warn!("cannot look up the watermark: the database does not answer"),
        }
        *last_try = Some(Instant::now());
    }

    async fn look_up(&self, bound: TicketId) -> Result<TicketId, sqlx::Error> {
        self.0.database.query(move |connection| Box::pin(largest_settled(connection, bound))).await
    }

    fn seen(&self) -> Option<Seen> {
        *self.0.seen.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// Whether the ticket certainly had not been settled when this was looked up.
    fn says_unsettled(&self, ticket: TicketId) -> bool {
        self.at.elapsed() < STALE_AFTER && ticket > self.largest && ticket <= self.bound
    }
}

/// The largest ticket up to `bound` that has been settled.
async fn largest_settled(connection: &mut PgConnection, bound: TicketId) -> Result<TicketId, sqlx::Error> {
    let largest = sqlx::query_scalar!(
        "SELECT ticket_id FROM bookings WHERE ticket_id <= $1 ORDER BY ticket_id DESC LIMIT 1",
        bound.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(TicketId(largest.unwrap_or_default()))
}
