//! Erases the names and addresses of customers some time after the concert.
//!
//! Both passes read the tables in the order of their primary keys, so they need no index that every sale would have to
//! maintain.

use hamro_shared::domain::{CustomerName, Email, TicketId, Timestamp};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::{BLOCK, paced};
use crate::person::erase::ERASED;

/// How many customers were erased.
pub struct Erased {
    pub sales: i64,
    pub bookings: i64,
}

/// Erases the customers of sales and bookings that are older than `cutoff`.
pub async fn erase(connection: &mut PgConnection, cutoff: Timestamp) -> Result<Erased, sqlx::Error> {
    let sales = erase_sales(connection, cutoff).await?;
    delete_customer_locks(connection, cutoff).await?;
    let bookings = erase_bookings(connection, cutoff).await?;
    Ok(Erased { sales, bookings })
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
                UPDATE sales SET user_name = $4, user_email = $5, customer_digest = NULL, tagged_digest = NULL
                FROM due WHERE sales.id = due.id RETURNING 1
            ), reasons AS (
                UPDATE releases SET reason = $6 FROM due WHERE releases.sale_id = due.id
            )
            SELECT max(id) AS last, bool_or(created_at < $3) AS is_old, (SELECT count(*) FROM erased) AS "erased!"
            FROM block
            "#,
            last,
            BLOCK,
            cutoff as Timestamp,
            name.as_str(),
            email.as_str(),
            ERASED
        )
        .fetch_one(&mut *connection)
        .await?;
        erased += block.erased;
        // Ids are given in the order of the sales, except those of sales at nearly the same time.
        let (Some(id), Some(true)) = (block.last, block.is_old) else { return Ok(erased) };
        last = id;
    }
}

/// Deletes the locks, which contain digests of addresses, of concerts that took place before `cutoff`. Nobody uses them.
async fn delete_customer_locks(connection: &mut PgConnection, cutoff: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        DELETE FROM customer_locks
        USING concerts
        WHERE concerts.id = customer_locks.concert_id AND concerts.date < ($1::timestamptz AT TIME ZONE 'UTC')::date
        "#,
        cutoff as Timestamp
    )
    .execute(connection)
    .await?;
    Ok(())
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
