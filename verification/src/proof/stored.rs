//! The rows that the workers wrote, as plain data.

use anyhow::{Context, Result};
use futures_util::{Stream, TryStreamExt};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::types::Json;
use uuid::Uuid;

/// A row of `bookings`.
#[derive(Clone, Debug)]
pub struct BookingRow {
    pub ticket: Uuid,
    /// `None` if the ticket was fenced by someone who knew only its id.
    pub email: Option<String>,
    pub status: String,
    pub sale: Option<i64>,
    /// The problem code of a rejection.
    pub code: Option<String>,
    /// The seats that a rejection names.
    pub rejected_seats: Vec<i32>,
    /// In milliseconds since the Unix epoch.
    pub settled_at: i64,
}

/// A sale. Times are in microseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub struct SaleRow {
    pub id: i64,
    pub ticket: Uuid,
    pub email: String,
    /// Taken within the transaction, so the sale was committed then or later.
    pub created_at: i64,
    /// The exact time, if Postgres records it (`track_commit_timestamp`).
    pub committed_at: Option<i64>,
    /// In the order of the customer's request.
    pub seats: Vec<SoldSeat>,
}

#[derive(Clone, Debug)]
pub struct SoldSeat {
    pub seat: i32,
    pub release: Option<SeatRelease>,
}

/// How a seat was taken from its sale. Times are by the database's clock, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub struct SeatRelease {
    /// Tickets that are issued from this time on can have the seat. `i64::MAX` while the release is unfinished.
    pub free_from: i64,
    /// When that was committed, if Postgres records it.
    pub committed_at: Option<i64>,
}

/// The bookings of customers whose address matches the pattern (or of all), and those without a customer.
pub fn bookings<'a>(
    connection: &'a mut PgConnection,
    customers: Option<&'a str>,
) -> impl Stream<Item = Result<BookingRow>> + 'a {
    let query = sqlx::query(
        "SELECT ticket_id, user_email, status, sale_id, rejection->>'code' AS code,
                CASE jsonb_typeof(rejection->'seatIds') WHEN 'array' THEN rejection->'seatIds' ELSE '[]' END
                    AS rejected_seats,
                floor(extract(epoch FROM settled_at) * 1000)::bigint AS settled_at
         FROM bookings
         WHERE $1::text IS NULL OR user_email LIKE $1 OR user_email IS NULL",
    );
    query
        .bind(customers)
        .fetch(connection)
        .map_err(Into::into)
        .and_then(async |row| booking(&row).context("reading a row of bookings"))
}

fn booking(row: &PgRow) -> Result<BookingRow> {
    Ok(BookingRow {
        ticket: row.try_get("ticket_id")?,
        email: row.try_get("user_email")?,
        status: row.try_get("status")?,
        sale: row.try_get("sale_id")?,
        code: row.try_get("code")?,
        rejected_seats: row.try_get::<Json<Vec<i32>>, _>("rejected_seats")?.0,
        settled_at: row.try_get("settled_at")?,
    })
}

/// All sales with seats of these concerts, also released ones.
///
/// `created_at` and `free_from` are taken within their transactions, before the commit. Commit times exist only if
/// `track_commit_timestamp` is on, and belong to the transaction that wrote the row's current version: for a release, that is
/// its second transaction, which makes the seats free.
pub fn sales<'a>(
    connection: &'a mut PgConnection,
    concerts: &'a [Uuid],
) -> impl Stream<Item = Result<SaleRow>> + 'a {
    let query = sqlx::query(
        "WITH sold AS (
             SELECT sold.sale_id, sold.position, sold.seat_id,
                    CASE WHEN NOT release.is_finished THEN $2
                         -- A release of an earlier version has no time.
                         ELSE (extract(epoch FROM coalesce(release.free_from, sold.released_at + interval '3 seconds'))
                               * 1000000)::bigint END
                        AS free_from,
                    CASE WHEN current_setting('track_commit_timestamp')::boolean
                         THEN (extract(epoch FROM pg_xact_commit_timestamp(release.xmin)) * 1000000)::bigint END
                        AS release_committed_at
             FROM seats seat JOIN sale_seats sold ON sold.seat_id = seat.id
             LEFT JOIN releases release
                 ON sold.released_at IS NOT NULL
                AND release.sale_id = sold.sale_id AND sold.seat_id = ANY(release.seat_ids)
             WHERE seat.concert_id = ANY($1)
         ), sale AS (
             SELECT id, ticket_id, user_email, (extract(epoch FROM created_at) * 1000000)::bigint AS created_at,
                    CASE WHEN current_setting('track_commit_timestamp')::boolean
                         THEN (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint END AS committed_at
             FROM sales
         )
         SELECT sale.*, array_agg(seat_id ORDER BY position) AS seats,
                array_agg(free_from ORDER BY position) AS free_from,
                array_agg(release_committed_at ORDER BY position) AS release_committed
         FROM sold JOIN sale ON sale.id = sold.sale_id
         GROUP BY sale.id, ticket_id, user_email, created_at, committed_at
         ORDER BY sale.id",
    );
    query
        .bind(concerts)
        .bind(i64::MAX)
        .fetch(connection)
        .map_err(Into::into)
        .and_then(async |row| sale(&row).context("reading a sale"))
}

fn sale(row: &PgRow) -> Result<SaleRow> {
    let seats: Vec<i32> = row.try_get("seats")?;
    let free_from: Vec<Option<i64>> = row.try_get("free_from")?;
    let release_committed: Vec<Option<i64>> = row.try_get("release_committed")?;
    let sold = |((seat, free_from), committed_at): ((i32, Option<i64>), Option<i64>)| SoldSeat {
        seat,
        release: free_from.map(|free_from| SeatRelease { free_from, committed_at }),
    };
    Ok(SaleRow {
        id: row.try_get("id")?,
        ticket: row.try_get("ticket_id")?,
        email: row.try_get("user_email")?,
        created_at: row.try_get("created_at")?,
        committed_at: row.try_get("committed_at")?,
        seats: seats.into_iter().zip(free_from).zip(release_committed).map(sold).collect(),
    })
}
