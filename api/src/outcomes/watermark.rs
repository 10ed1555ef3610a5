//! The largest settled ticket id. A ticket beyond it is not settled, so its status costs no query.
//!
//! Ticket ids sort by time of issue, and tickets are settled approximately in that order. In a rush, almost every
//! ticket that clients poll is beyond the watermark.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hamro_shared::database::Database;
use hamro_shared::domain::{Clock, TicketId, Timestamp};
use hamro_shared::telemetry::metrics::MetricsRegistry;
use sqlx::postgres::PgConnection;
use tokio::sync::Mutex;
use tokio::task::spawn;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// The watermark is looked up at most this often, however many requests use it.
const REFRESH_EVERY: Duration = Duration::from_millis(250);
/// An older watermark is not used.
const STALE_AFTER: Duration = Duration::from_secs(1);
/// Ids that are further ahead of the clock are ignored, because otherwise one instance with a fast clock would make all
/// others query Postgres for every ticket. For such ids the watermark proves nothing.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// The watermark as one instance sees it, shared by all requests.
#[derive(Clone)]
pub struct Watermark(Arc<Inner>);

struct Inner {
    database: Database,
    clock: Clock,
    /// With the time when the look-up began.
    latest: RwLock<Option<(Reading, Instant)>>,
    /// When the last lookup ended. Locked during a lookup. A failed lookup counts too, so that requests do not query an
    /// unavailable database one after another.
    last_refresh: Mutex<Option<Instant>>,
}

/// What a look-up has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The largest settled id that is at most `bound`.
    pub largest_settled: TicketId,
    /// The largest id that the query considered.
    pub bound: TicketId,
}

impl Watermark {
    pub fn new(database: Database, clock: Clock) -> Self {
        Self(Arc::new(Inner { database, clock, latest: RwLock::new(None), last_refresh: Mutex::new(None) }))
    }

    /// Exports the age of the watermark, once it has been looked up.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let watermark = self.clone();
        registry.read_gauge(
            "watermark_age_seconds",
            "Time since the last successful look-up of the watermark began, which only status reads cause",
            move || watermark.latest().map(|(_, at)| at.elapsed().as_secs_f64()),
        );
    }

    /// Whether the ticket is beyond the watermark, and so certainly not settled. `false` proves nothing.
    pub async fn proves_unsettled(&self, ticket: TicketId) -> bool {
        if self.latest().is_none_or(|(_, at)| at.elapsed() >= REFRESH_EVERY) {
            // In a separate task: the client that triggered it may disconnect while others wait for the result. If the
            // task panics, the watermark stays unknown.
            let watermark = self.clone();
            let _ = spawn(async move { watermark.refresh().await }).await;
        }
        self.latest().is_some_and(|(reading, at)| reading.proves_unsettled(ticket, at.elapsed()))
    }

    /// Looks the watermark up, unless another request has just done so or tried to.
    async fn refresh(&self) {
        let mut last_refresh = self.0.last_refresh.lock().await;
        if last_refresh.is_some_and(|at| at.elapsed() < REFRESH_EVERY) {
            return;
        }
        // Taken before the query, because its result lacks whatever is settled from now on.
        let at = Instant::now();
        let bound = Reading::bound_at(self.0.clock.now());
        match timeout(STALE_AFTER, self.look_up(bound)).await {
            Ok(Ok(largest_settled)) => {
                let reading = Reading { largest_settled, bound };
                *self.0.latest.write().unwrap_or_else(PoisonError::into_inner) = Some((reading, at));
            }
            Ok(Err(error)) => warn!("cannot look up the watermark: {error}"),
            Err(_) => warn!("cannot look up the watermark: no response within {STALE_AFTER:?}"),
        }
        *last_refresh = Some(Instant::now());
    }

    async fn look_up(&self, bound: TicketId) -> Result<TicketId, sqlx::Error> {
        self.0.database.query(move |connection| Box::pin(largest_settled(connection, bound))).await
    }

    fn latest(&self) -> Option<(Reading, Instant)> {
        *self.0.latest.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    /// The bound of a query that begins `now`.
    pub fn bound_at(now: Timestamp) -> TicketId {
        TicketId::last_of(now + CLOCK_SKEW)
    }

    /// Whether the ticket is beyond the watermark. `age` is the time since the query began.
    pub fn proves_unsettled(self, ticket: TicketId, age: Duration) -> bool {
        age < STALE_AFTER && ticket > self.largest_settled && ticket <= self.bound
    }
}

/// The largest settled ticket id that is at most `bound`.
async fn largest_settled(connection: &mut PgConnection, bound: TicketId) -> Result<TicketId, sqlx::Error> {
    let largest = sqlx::query_scalar!(
        "SELECT ticket_id FROM bookings WHERE ticket_id <= $1 ORDER BY ticket_id DESC LIMIT 1",
        bound.0
    )
    .fetch_optional(connection)
    .await?;
    Ok(TicketId(largest.unwrap_or_default()))
}
