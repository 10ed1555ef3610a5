//! Erases or deletes what has been kept for long enough, if `RETENTION` or `REJECTED_RETENTION` is set.
//!
//! An instance does it when it starts and then every six hours, in small blocks that lock only the rows that they change. An
//! advisory lock prevents that two instances do it at the same time.

mod customers;
mod rejections;

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::Context;
use hamro_shared::config::Env;
use hamro_shared::database::Sessions;
use hamro_shared::domain::Timestamp;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

const DAY: Duration = Duration::from_hours(24);
/// Before it, there is no time of a ticket.
const LONGEST: Duration = DAY.saturating_mul(50 * 365);
const INTERVAL: Duration = Duration::from_hours(6);
/// How many rows one statement reads. It takes a few milliseconds.
const BLOCK: i64 = 1_000;
/// The time between the starts of two blocks, most of which is left to bookings.
const BLOCK_INTERVAL: Duration = Duration::from_millis(20);
/// Identifies the advisory lock: "retain" in ASCII.
const LOCK: i64 = 0x7265_7461_696e;

/// How long data is kept. Data without a period is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Names and addresses, after the concert.
    pub customers: Option<Duration>,
    /// Rejected bookings, after their tickets were issued.
    pub rejections: Option<Duration>,
}

impl Retention {
    pub fn read(env: &mut Env) -> Option<Self> {
        let customers = read_period(
            env,
            "RETENTION",
            "How long after the sale and its concert the api erases the customer's name and e-mail address. At least 30 \
             days; by default they are kept.",
            // Protects customers against a mistyped setting: what is erased does not come back.
            30 * DAY..=LONGEST,
            "30 days",
        );
        let rejections = read_period(
            env,
            "REJECTED_RETENTION",
            "How long after it was requested a rejected booking is deleted; its ticket is then unknown. At least a day; by \
             default rejected bookings are kept.",
            // Longer than a deadline, and than a client asks for its ticket.
            DAY..=LONGEST,
            "a day",
        );
        Some(Self { customers: customers?, rejections: rejections? })
    }

    pub fn is_unlimited(self) -> bool {
        self.customers.is_none() && self.rejections.is_none()
    }
}

#[expect(clippy::option_option, reason = "the outer `None` is an error, as everywhere in `Env`")]
fn read_period(
    env: &mut Env,
    name: &'static str,
    purpose: &'static str,
    range: RangeInclusive<Duration>,
    shortest: &str,
) -> Option<Option<Duration>> {
    let period: Option<Duration> = env.variable(name, purpose, "a duration such as 2y or 400d").optional()?;
    if period.is_some_and(|period| !range.contains(&period)) {
        env.record_error(format!(
            "{name} is not from {shortest} to 50 years: it should be a duration such as 2y or 400d"
        ));
    }
    Some(period)
}

/// Removes what is due, every six hours, until `stop`.
pub async fn run(
    database: Sessions,
    retention: Retention,
    mut schema_ready: watch::Receiver<bool>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let rounds = async {
        schema_ready.wait_for(|is_ready| *is_ready).await.context("the schema was never ready")?;
        let mut rounds = interval(INTERVAL);
        loop {
            rounds.tick().await;
            if let Err(error) = remove_due(&database, retention).await {
                warn!(
                    "what is older than its retention could not be removed; trying again in six hours: {error:#}"
                );
            }
        }
    };
    stop.run_until_cancelled(rounds).await.unwrap_or(Ok(()))
}

async fn remove_due(database: &Sessions, retention: Retention) -> anyhow::Result<()> {
    let mut connection = database.open().await?.connection;
    let is_locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "is_locked!""#, LOCK)
        .fetch_one(&mut connection)
        .await?;
    if !is_locked {
        // Another instance is at work.
        return Ok(());
    }
    if let Some(period) = retention.customers {
        let cutoff = time_before(&mut connection, period).await?;
        let erased = customers::erase(&mut connection, cutoff).await.context("erasing customers")?;
        let customers::Erased { sales, bookings } = erased;
        info!(
            "erased the customers of {sales} sales and {bookings} bookings: older than RETENTION, before {cutoff}"
        );
    }
    if let Some(period) = retention.rejections {
        let cutoff = time_before(&mut connection, period).await?;
        let deleted = rejections::delete(&mut connection, cutoff).await.context("deleting rejections")?;
        info!("deleted {deleted} rejected bookings: older than REJECTED_RETENTION, before {cutoff}");
    }
    // Closing the session releases the lock.
    connection.close().await?;
    Ok(())
}

/// The database's time, less `period`.
async fn time_before(connection: &mut PgConnection, period: Duration) -> Result<Timestamp, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT now() - make_interval(secs => $1) AS "cutoff!: Timestamp""#,
        period.as_secs_f64()
    )
    .fetch_one(connection)
    .await
}

/// Ticks once per block. A late block delays the next one.
fn paced() -> Interval {
    let mut blocks = interval(BLOCK_INTERVAL);
    blocks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    blocks
}
