//! Erases the names and addresses of customers some time after the concert, if `RETENTION` is set.
//!
//! An instance does it when it starts and then every six hours, in small blocks that lock only the rows that they change. An
//! advisory lock prevents that two instances do it at the same time. Both passes read the tables in the order of their
//! primary keys, so they need no index that every sale would have to maintain.

use std::time::Duration;

use anyhow::Context;
use hamro_shared::config::Env;
use hamro_shared::database::Sessions;
use hamro_shared::domain::{CustomerName, Email, TicketId, Timestamp};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

/// Protects customers against a mistyped setting: what is erased does not come back.
const SHORTEST: Duration = Duration::from_hours(30 * 24);
/// Before it, there is no time of a ticket.
const LONGEST: Duration = Duration::from_hours(50 * 365 * 24);
const INTERVAL: Duration = Duration::from_hours(6);
/// How many rows one statement reads. It takes a few milliseconds.
const BLOCK: i64 = 1_000;
/// The time between the starts of two blocks, most of which is left to bookings.
const BLOCK_INTERVAL: Duration = Duration::from_millis(20);
/// Identifies the advisory lock: "retain" in ASCII.
const LOCK: i64 = 0x7265_7461_696e;

/// How long names and addresses are kept after the concert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention(Duration);

impl Retention {
    pub fn read(env: &mut Env) -> Option<Option<Self>> {
        let retention: Option<Duration> = env
            .variable(
                "RETENTION",
                "How long after the sale and its concert the api erases the customer's name and e-mail address. At least 30 \
                 days; by default they are kept.",
                "a duration such as 2y or 400d",
            )
            .optional()?;
        if retention.is_some_and(|retention| !(SHORTEST..=LONGEST).contains(&retention)) {
            env.record_error(
                "RETENTION is not from 30 days to 50 years: it should be a duration such as 2y or 400d",
            );
        }
        Some(retention.map(Self))
    }
}

/// Erases what is due, every six hours, until `stop`.
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
            if let Err(error) = erase_due(&database, retention).await {
                warn!("names older than RETENTION could not be erased; trying again in six hours: {error:#}");
            }
        }
    };
    stop.run_until_cancelled(rounds).await.unwrap_or(Ok(()))
}

async fn erase_due(database: &Sessions, Retention(retention): Retention) -> anyhow::Result<()> {
    let mut connection = database.open().await?.connection;
    let is_locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "is_locked!""#, LOCK)
        .fetch_one(&mut connection)
        .await?;
    if !is_locked {
        // Another instance is at work.
        return Ok(());
    }
    let cutoff = sqlx::query_scalar!(
        r#"SELECT now() - make_interval(secs => $1) AS "cutoff!: Timestamp""#,
        retention.as_secs_f64()
    )
    .fetch_one(&mut connection)
    .await?;
    let sales = erase_sales(&mut connection, cutoff).await.context("erasing sales")?;
    let bookings = erase_bookings(&mut connection, cutoff).await.context("erasing bookings")?;
    info!(
        "erased the customers of {sales} sales and {bookings} bookings: older than RETENTION, before {cutoff}"
    );
    // Closing the session releases the lock.
    connection.close().await?;
    Ok(())
}

/// Ticks once per block. A late block delays the next one.
fn paced() -> Interval {
    let mut blocks = interval(BLOCK_INTERVAL);
    blocks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    blocks
}

/// Erases the customers of sales that were made before `cutoff`, of concerts that took place before it. Returns how many.
async fn erase_sales(connection: &mut PgConnection, cutoff: Timestamp) -> Result<i64, sqlx::Error> {
    let (name, email) = (CustomerName::erased(), Email::erased());
    let (mut erased, mut last) = (0, i64::MIN);
    let mut blocks = paced();
    loop {
        blocks.tick().await;
        let block = sqlx::query!(
            r#"
            WITH block AS (
                SELECT id, user_name, user_email, created_at FROM sales WHERE id > $1 ORDER BY id LIMIT $2
            ), due AS (
                SELECT id FROM block
                WHERE created_at < $3 AND (user_name, user_email) <> ($4, $5) AND NOT EXISTS (
                    SELECT FROM sale_seats
                    JOIN concerts ON concerts.id = sale_seats.concert_id
                    WHERE sale_seats.sale_id = block.id AND concerts.date >= ($3::timestamptz AT TIME ZONE 'UTC')::date
                )
            ), erased AS (
                UPDATE sales SET user_name = $4, user_email = $5 FROM due WHERE sales.id = due.id RETURNING 1
            )
            SELECT max(id) AS last, bool_or(created_at < $3) AS is_old, (SELECT count(*) FROM erased) AS "erased!"
            FROM block
            "#,
            last,
            BLOCK,
            cutoff as Timestamp,
            name.as_str(),
            email.as_str()
        )
        .fetch_one(&mut *connection)
        .await?;
        erased += block.erased;
        // Ids are given in the order of the sales, except those of sales at nearly the same time.
        let (Some(id), Some(true)) = (block.last, block.is_old) else { return Ok(erased) };
        last = id;
    }
}

/// Erases the customers of bookings whose tickets were issued before `cutoff`: of those that were not confirmed, and of
/// those whose sale is erased. Returns how many.
async fn erase_bookings(connection: &mut PgConnection, cutoff: Timestamp) -> Result<i64, sqlx::Error> {
    let (name, email) = (CustomerName::erased(), Email::erased());
    let (mut erased, mut last) = (0, TicketId(Uuid::nil()));
    let mut blocks = paced();
    loop {
        blocks.tick().await;
        let block = sqlx::query!(
            r#"
            WITH block AS (
                SELECT ticket_id, sale_id FROM bookings WHERE ticket_id > $1 AND ticket_id <= $2 ORDER BY ticket_id LIMIT $3
            ), erased AS (
                UPDATE bookings SET user_name = $4, user_email = $5 FROM block
                WHERE bookings.ticket_id = block.ticket_id AND (bookings.user_name, bookings.user_email) <> ($4, $5)
                    AND (block.sale_id IS NULL
                         OR EXISTS (SELECT FROM sales WHERE sales.id = block.sale_id AND sales.user_email = $5))
                RETURNING 1
            )
            SELECT (SELECT ticket_id FROM block ORDER BY ticket_id DESC LIMIT 1) AS "last: TicketId",
                   (SELECT count(*) FROM erased) AS "erased!"
            "#,
            last as TicketId,
            TicketId::last_of(cutoff) as TicketId,
            BLOCK,
            name.as_str(),
            email.as_str()
        )
        .fetch_one(&mut *connection)
        .await?;
        erased += block.erased;
        let Some(ticket) = block.last else { return Ok(erased) };
        last = ticket;
    }
}
