//! Stores how the last run has ended, and deletes what runs of the day before have left in the tables.

use std::time::Duration;

use hamro_shared::domain::{TicketId, Timestamp};
use sqlx::postgres::PgConnection;

use super::attempt::Ended;

/// How many bookings one run deletes: many more than one run adds.
const PRUNED_MAX: i64 = 100;

/// Notes that the ticket is the canary's, so that what is stored about it is deleted later.
pub async fn track(session: &mut PgConnection, ticket: TicketId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO canary_tickets (ticket_id) VALUES ($1) ON CONFLICT DO NOTHING",
        ticket as TicketId
    )
    .execute(session)
    .await?;
    Ok(())
}

/// Stores the result of a run. Returns when the canary last succeeded.
pub async fn record(
    session: &mut PgConnection,
    ended: &Ended,
    duration: Duration,
) -> Result<Option<Timestamp>, sqlx::Error> {
    let (succeeded, failure, refused_with) = match ended {
        Ended::Succeeded => (true, None, None),
        Ended::Paused(code) => (false, None, Some(code.as_str())),
        Ended::Failed(failure) => (false, Some(failure.to_string()), None),
    };
    sqlx::query_scalar!(
        r#"
        INSERT INTO canary AS stored (last_run_at, last_success_at, failure, refused_with, duration_seconds)
        VALUES (now(), CASE WHEN $1 THEN now() END, $2, $3, $4)
        ON CONFLICT (is_only_row) DO UPDATE
        SET last_run_at = excluded.last_run_at,
            last_success_at = coalesce(excluded.last_success_at, stored.last_success_at),
            failure = excluded.failure,
            refused_with = excluded.refused_with,
            duration_seconds = excluded.duration_seconds
        RETURNING last_success_at AS "last_success_at: Timestamp"
        "#,
        succeeded,
        failure,
        refused_with,
        duration.as_secs_f64()
    )
    .fetch_one(session)
    .await
}

/// Deletes the bookings of a day ago with their sales, so that a year of runs leaves no more rows than a day. A sale that
/// still has a seat stays until the seat is released.
///
/// Nobody but the canary knows these tickets, so nobody can see that their final status is gone.
pub async fn prune(session: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        WITH due AS (
            SELECT ticket.ticket_id, booking.sale_id
            FROM canary_tickets ticket
            LEFT JOIN bookings booking USING (ticket_id)
            WHERE ticket.booked_at < now() - interval '1 day'
                  AND NOT EXISTS (SELECT FROM sale_seats sold
                                  WHERE sold.sale_id = booking.sale_id AND sold.released_at IS NULL)
            ORDER BY ticket.booked_at
            LIMIT $1
        ), without_bookings AS (
            DELETE FROM bookings USING due WHERE bookings.ticket_id = due.ticket_id
        ), without_seats AS (
            DELETE FROM sale_seats USING due WHERE sale_seats.sale_id = due.sale_id
        ), without_releases AS (
            DELETE FROM releases USING due WHERE releases.sale_id = due.sale_id
        ), without_sales AS (
            DELETE FROM sales USING due WHERE sales.id = due.sale_id
        )
        DELETE FROM canary_tickets USING due WHERE canary_tickets.ticket_id = due.ticket_id
        "#,
        PRUNED_MAX
    )
    .execute(session)
    .await?;
    Ok(())
}
