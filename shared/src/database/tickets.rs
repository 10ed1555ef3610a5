//! Outcomes of tickets: their rows in `bookings`, and the sales that these refer to.
//!
//! Stored data is trusted, not validated. A row that is unreadable nevertheless affects only its own ticket, and no
//! other ticket of the query.

use std::time::Duration;

use sqlx::postgres::PgConnection;

use crate::domain::{
    Booking, ConcertId, CustomerName, Email, Outcome, Price, Rejection, SeatId, SeatLabel, SettledTicket,
    SoldSeat, TicketId, TierId, Timestamp,
};

/// The longest that the statement of [`expire`] takes: more than the `statement_timeout` of the programs.
pub const EXPIRY_LIMIT: Duration = Duration::from_secs(15);

/// One row per seat of a confirmed ticket; one row for any other ticket.
struct Row {
    ticket_id: TicketId,
    status: String,
    settled_at: Timestamp,
    /// As text: JSON that cannot be parsed must not make the query fail.
    rejection: Option<String>,
    sale_id: Option<i64>,
    user_name: Option<CustomerName>,
    user_email: Option<Email>,
    sold_at: Option<Timestamp>,
    seat_id: Option<SeatId>,
    section: Option<String>,
    row: Option<i32>,
    seat_number: Option<String>,
    concert_id: Option<ConcertId>,
    ticket_tier_id: Option<TierId>,
    price: Option<Price>,
    is_released: bool,
}

/// A settled ticket whose outcome this version cannot read: a newer version wrote it, or it was changed by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored outcome of ticket {ticket} cannot be read: {reason}")]
pub struct Unreadable {
    pub ticket: TicketId,
    pub reason: String,
}

/// Reads the outcomes of those tickets that are settled, in one query. Of what it reads, only `released_at` may change later:
/// a sale keeps what its seats were called.
pub async fn find_settled(
    connection: &mut PgConnection,
    tickets: &[TicketId],
) -> Result<Vec<Result<SettledTicket, Unreadable>>, sqlx::Error> {
    // NaN is a valid `numeric` but not a `Decimal`, so decoding it would make the query fail.
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT booking.ticket_id AS "ticket_id: TicketId", booking.status,
               booking.settled_at AS "settled_at: Timestamp", booking.rejection::text, booking.sale_id,
               sale.user_name AS "user_name?: CustomerName", sale.user_email AS "user_email?: Email",
               sale.created_at AS "sold_at?: Timestamp", sold.seat_id AS "seat_id?: SeatId", sold.section, sold."row",
               sold.seat_number, sold.concert_id AS "concert_id: ConcertId",
               sold.ticket_tier_id AS "ticket_tier_id: TierId", NULLIF(sold.price, 'NaN') AS "price?: Price",
               sold.released_at IS NOT NULL AS "is_released!"
        FROM bookings booking
        LEFT JOIN sales sale ON sale.id = booking.sale_id
        LEFT JOIN sale_seats sold ON sold.sale_id = booking.sale_id
        WHERE booking.ticket_id = ANY($1)
        ORDER BY booking.ticket_id, sold.position
        "#,
        tickets as &[TicketId]
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.chunk_by(|one, next| one.ticket_id == next.ticket_id).map(settled_ticket).collect())
}

/// Fences a ticket whose deadline has passed by the database clock: it can no longer be sold. If it has been settled in
/// the meantime, that outcome stands. Returns the final outcome, or `None` if the deadline has not passed or the outcome
/// [may be deleted](may_be_deleted).
pub async fn expire(
    connection: &mut PgConnection,
    ticket: TicketId,
    deadline: Timestamp,
) -> Result<Option<Result<SettledTicket, Unreadable>>, sqlx::Error> {
    // If a worker has inserted the ticket's row and not committed yet, this waits for it.
    sqlx::query!(
        r#"
        INSERT INTO bookings (ticket_id, status, settled_at)
        SELECT $1, 'expired', now FROM date_trunc('milliseconds', clock_timestamp()) AS now
        WHERE now > $2 AND NOT EXISTS (SELECT FROM deleted_rejections WHERE issued_until >= $3)
        ON CONFLICT DO NOTHING
        "#,
        ticket as TicketId,
        deadline as Timestamp,
        ticket.issued_at() as Timestamp
    )
    .execute(&mut *connection)
    .await?;
    Ok(find_settled(connection, &[ticket]).await?.pop())
}

/// Whether a ticket without a row may have been rejected and deleted.
pub async fn may_be_deleted(connection: &mut PgConnection, ticket: TicketId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM deleted_rejections WHERE issued_until >= $1) AS "may_be!""#,
        ticket.issued_at() as Timestamp
    )
    .fetch_one(connection)
    .await
}

/// From now on, a ticket that was issued until then and has no row [may be deleted](may_be_deleted).
pub async fn announce_deletion(
    connection: &mut PgConnection,
    issued_until: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO deleted_rejections AS deleted (issued_until) VALUES ($1)
         ON CONFLICT (is_only_row) DO UPDATE SET issued_until = greatest(deleted.issued_until, excluded.issued_until)",
        issued_until as Timestamp
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn settled_ticket(rows: &[Row]) -> Result<SettledTicket, Unreadable> {
    let row = &rows[0];
    let outcome = outcome(rows).map_err(|reason| Unreadable { ticket: row.ticket_id, reason })?;
    Ok(SettledTicket { ticket_id: row.ticket_id, settled_at: row.settled_at, outcome })
}

fn outcome(rows: &[Row]) -> Result<Outcome, String> {
    let row = &rows[0];
    match row.status.as_str() {
        "confirmed" => Ok(Outcome::Confirmed { booking: booking(rows)? }),
        "rejected" => {
            let json = row.rejection.as_deref().ok_or("it is rejected, and its reason is missing")?;
            let json = serde_json::from_str(json).map_err(|error| format!("its rejection: {error}"))?;
            Ok(Outcome::Rejected { rejection: Rejection::from_stored(json) })
        }
        "expired" => Ok(Outcome::Expired),
        "failed" => Ok(Outcome::Failed),
        status => Err(format!("this version does not know the status {status:?}")),
    }
}

fn booking(rows: &[Row]) -> Result<Booking, String> {
    let row = &rows[0];
    let (Some(sale), Some(sold_at)) = (row.sale_id, row.sold_at) else {
        return Err("it is confirmed, and its sale is missing".to_owned());
    };
    let seats = rows.iter().map(sold_seat).collect::<Option<Vec<_>>>();
    let seats =
        seats.ok_or_else(|| format!("a seat of sale {sale} is missing, or has no price or no label"))?;
    let name = row.user_name.clone().unwrap_or_else(CustomerName::erased);
    let email = row.user_email.clone().unwrap_or_else(Email::erased);
    let released = rows.iter().filter(|row| row.is_released).filter_map(|row| row.seat_id).collect();
    Ok(Booking::of_sale(sale, name, email, sold_at, seats).with_released(released))
}

fn sold_seat(row: &Row) -> Option<SoldSeat> {
    let label = SeatLabel {
        id: row.seat_id?,
        section: row.section.clone()?,
        row: row.row?,
        seat_number: row.seat_number.clone()?,
    };
    Some(SoldSeat { label, concert_id: row.concert_id?, tier_id: row.ticket_tier_id?, price: row.price? })
}
