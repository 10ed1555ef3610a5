//! What became of a ticket: its row in `bookings`, and the sale behind it.
//!
//! What is stored is trusted, not validated. A row that cannot be read all the same costs its own ticket its answer, and no
//! other ticket of the query.

use sqlx::postgres::PgConnection;
use sqlx::types::{Decimal, Uuid};

use super::StoredTimestamp;
use crate::domain::{
    Booking, ConcertId, CustomerName, Email, Outcome, Price, Rejection, SeatId, SettledTicket, SoldSeat,
    TicketId, TierId, Timestamp,
};

/// One row a seat of a confirmed ticket, one row for any other ticket.
struct Row {
    ticket_id: Uuid,
    status: String,
    settled_at: StoredTimestamp,
    /// As text: one that is too large to be parsed must not make the query fail.
    rejection: Option<String>,
    sale_id: Option<i64>,
    user_name: Option<String>,
    user_email: Option<String>,
    sold_at: Option<StoredTimestamp>,
    seat_id: Option<i32>,
    seat_number: Option<String>,
    concert_id: Option<Uuid>,
    ticket_tier_id: Option<i32>,
    price: Option<Decimal>,
}

/// A settled ticket whose outcome this version cannot read: a newer one has written it, or somebody has changed it by hand.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored outcome of ticket {ticket} cannot be read: {reason}")]
pub struct Unreadable {
    pub ticket: TicketId,
    pub reason: String,
}

/// Those of the tickets that are settled, with their outcomes where these can be read, in one query.
pub async fn find_settled(
    connection: &mut PgConnection,
    tickets: &[TicketId],
) -> Result<Vec<Result<SettledTicket, Unreadable>>, sqlx::Error> {
    let tickets: Vec<Uuid> = tickets.iter().map(|ticket| ticket.0).collect();
    // NaN is a numeric that a Decimal cannot be, and would make the query fail.
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT booking.ticket_id, booking.status, booking.settled_at AS "settled_at: StoredTimestamp",
               booking.rejection::text, booking.sale_id,
               sale.user_name AS "user_name?", sale.user_email AS "user_email?",
               sale.created_at AS "sold_at?: StoredTimestamp",
               seat.id AS "seat_id?", seat.seat_number AS "seat_number?", seat.concert_id AS "concert_id?",
               seat.ticket_tier_id AS "ticket_tier_id?", NULLIF(sold.price, 'NaN') AS "price?"
        FROM bookings booking
        LEFT JOIN sales sale ON sale.id = booking.sale_id
        LEFT JOIN sale_seats sold ON sold.sale_id = booking.sale_id
        LEFT JOIN seats seat ON seat.id = sold.seat_id
        WHERE booking.ticket_id = ANY($1)
        ORDER BY booking.ticket_id, sold.position
        "#,
        &tickets
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.chunk_by(|one, next| one.ticket_id == next.ticket_id).map(settled_ticket).collect())
}

/// Fences off a ticket whose deadline has passed by the database's clock: from here on it can never be sold. If it has been
/// settled in the meantime, that stands. Returns what stands; nothing if the deadline has not passed.
pub async fn expire(
    connection: &mut PgConnection,
    ticket: TicketId,
    deadline: Timestamp,
) -> Result<Option<Result<SettledTicket, Unreadable>>, sqlx::Error> {
    // While a worker's transaction holds the ticket's row, this waits for its commit.
    sqlx::query!(
        r#"
        INSERT INTO bookings (ticket_id, status, settled_at)
        SELECT $1, 'expired', now FROM date_trunc('milliseconds', clock_timestamp()) AS now WHERE now > $2
        ON CONFLICT DO NOTHING
        "#,
        ticket.0,
        deadline.datetime()
    )
    .execute(&mut *connection)
    .await?;
    Ok(find_settled(connection, &[ticket]).await?.pop())
}

fn settled_ticket(rows: &[Row]) -> Result<SettledTicket, Unreadable> {
    let row = &rows[0];
    let ticket_id = TicketId(row.ticket_id);
    let outcome = outcome(rows).map_err(|reason| Unreadable { ticket: ticket_id, reason })?;
    Ok(SettledTicket { ticket_id, settled_at: row.settled_at.into(), outcome })
}

fn outcome(rows: &[Row]) -> Result<Outcome, String> {
    let row = &rows[0];
    match row.status.as_str() {
        "confirmed" => Ok(Outcome::Confirmed { booking: booking(rows)? }),
        "rejected" => {
            let json = row.rejection.as_deref().ok_or("it was rejected for no reason")?;
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
    let seats = seats.ok_or_else(|| format!("a seat of sale {sale} is missing, or has no price"))?;
    let name = CustomerName::from_stored(row.user_name.clone());
    let email = Email::from_stored(row.user_email.clone());
    Ok(Booking::of_sale(sale, name, email, sold_at.into(), seats))
}

fn sold_seat(row: &Row) -> Option<SoldSeat> {
    Some(SoldSeat {
        id: SeatId(row.seat_id?),
        number: row.seat_number.clone()?,
        concert_id: ConcertId(row.concert_id?),
        tier_id: TierId(row.ticket_tier_id?),
        price: Price::from_stored(row.price?),
    })
}
