//! The largest settled ticket id: a ticket beyond it cannot have been settled, and its status costs no query.
//!
//! Ids sort by the time they were issued, and tickets are settled about in that order, so in a rush almost every ticket
//! that is asked for lies beyond the watermark.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hamro_shared::domain::{Clock, TicketId};
use sqlx::postgres::PgPool;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// How often it is looked up at most, however many ask.
const REFRESH_EVERY: Duration = Duration::from_millis(250);
/// An older one counts for nothing.
const STALE_AFTER: Duration = Duration::from_secs(1);
/// Ids from further ahead of the clock are left out: one instance with a wrong clock must not make all others ask
/// Postgres.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// The watermark as one instance sees it, shared by all requests.
#[derive(Clone)]
pub struct Watermark(Arc<Inner>);

struct Inner {
    pool: PgPool,
    clock: Clock,
    seen: RwLock<Option<Seen>>,
    /// Held by the one request that looks it up; the moment of the last try, so that a database that is down is not
    /// asked by everybody in turn.
    refreshing: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy)]
struct Seen {
    largest: TicketId,
    at: Instant,
}

impl Watermark {
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self(Arc::new(Inner { pool, clock, seen: RwLock::new(None), refreshing: Mutex::new(None) }))
    }

    /// Whether the ticket certainly has not been settled. `false` says nothing.
    pub async fn is_before(&self, ticket: TicketId) -> bool {
        if self.seen().is_none_or(|seen| seen.at.elapsed() >= REFRESH_EVERY) {
            // In a box: hardly any of those who ask get here, and all would carry the room for it.
            Box::pin(self.refresh()).await;
        }
        self.seen().is_some_and(|seen| seen.at.elapsed() < STALE_AFTER && ticket > seen.largest)
    }

    /// Looks it up, unless somebody has just done so or tried to.
    async fn refresh(&self) {
        let mut last_try = self.0.refreshing.lock().await;
        if last_try.is_some_and(|at| at.elapsed() < REFRESH_EVERY) {
            return;
        }
        // What is settled from here on is not in the answer, so it is as old as this moment.
        let at = Instant::now();
        match timeout(STALE_AFTER, self.look_up()).await {
            Ok(Ok(largest)) => {
                *self.0.seen.write().unwrap_or_else(PoisonError::into_inner) = Some(Seen { largest, at });
            }
            Ok(Err(error)) => warn!("cannot look up the watermark: {error}"),
            Err(_) => warn!("cannot look up the watermark: the database does not answer"),
        }
        *last_try = Some(Instant::now());
    }

    async fn look_up(&self) -> Result<TicketId, sqlx::Error> {
        let bound = TicketId::last_of(self.0.clock.now() + CLOCK_SKEW);
        let largest = sqlx::query_scalar!(
            "SELECT ticket_id FROM bookings WHERE ticket_id <= $1 ORDER BY ticket_id DESC LIMIT 1",
            bound.0
        )
        .fetch_optional(&self.0.pool)
        .await?;
        Ok(TicketId(largest.unwrap_or_default()))
    }

    fn seen(&self) -> Option<Seen> {
        *self.0.seen.read().unwrap_or_else(PoisonError::into_inner)
    }
}
