//! What became of a ticket: its row in `bookings`, and the sale behind it.

use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::types::chrono::{DateTime, Utc};
use sqlx::types::{Decimal, Uuid};

use crate::domain::{
    Booking, ConcertId, CustomerName, Email, Outcome, Price, SeatId, SettledTicket, SoldSeat, TicketId,
    TierId, Timestamp,
};

/// One row a seat of a confirmed ticket, one row for any other ticket.
struct Row {
    ticket_id: Uuid,
    status: String,
    settled_at: DateTime<Utc>,
    rejection: Option<Value>,
    sale_id: Option<i64>,
    user_name: Option<String>,
    user_email: Option<String>,
    sold_at: Option<DateTime<Utc>>,
    seat_id: Option<i32>,
    seat_number: Option<String>,
    concert_id: Option<Uuid>,
    ticket_tier_id: Option<i32>,
    price: Option<Decimal>,
}

/// Those of the tickets that are settled, with their outcomes, in one query.
pub async fn find_settled(
    connection: &mut PgConnection,
    tickets: &[TicketId],
) -> Result<Vec<SettledTicket>, sqlx::Error> {
    let tickets: Vec<Uuid> = tickets.iter().map(|ticket| ticket.0).collect();
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT booking.ticket_id, booking.status, booking.settled_at, booking.rejection, booking.sale_id,
               sale.user_name AS "user_name?", sale.user_email AS "user_email?", sale.created_at AS "sold_at?",
               seat.id AS "seat_id?", seat.seat_number AS "seat_number?", seat.concert_id AS "concert_id?",
               seat.ticket_tier_id AS "ticket_tier_id?", sold.price AS "price?"
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
    rows.chunk_by(|one, next| one.ticket_id == next.ticket_id).map(settled_ticket).collect()
}

/// Fences off a ticket whose deadline has passed by the database's clock: from here on it can never be sold. If it has been
/// settled in the meantime, that stands. Returns what stands; nothing if the deadline has not passed.
pub async fn expire(
    connection: &mut PgConnection,
    ticket: TicketId,
    deadline: Timestamp,
) -> Result<Option<SettledTicket>, sqlx::Error> {
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

fn settled_ticket(rows: &[Row]) -> Result<SettledTicket, sqlx::Error> {
    let row = &rows[0];
    let outcome = match row.status.as_str() {
        "confirmed" => Outcome::Confirmed { booking: booking(rows).ok_or_else(|| corrupt(row))? },
        "rejected" => {
            let rejection = row.rejection.clone().unwrap_or_default();
            Outcome::Rejected { rejection: serde_json::from_value(rejection).map_err(|_| corrupt(row))? }
        }
        "expired" => Outcome::Expired,
        "failed" => Outcome::Failed,
        _ => return Err(corrupt(row)),
    };
    Ok(SettledTicket { ticket_id: TicketId(row.ticket_id), settled_at: row.settled_at.into(), outcome })
}

fn booking(rows: &[Row]) -> Option<Booking> {
    let seats = rows
        .iter()
        .map(|row| {
            Some(SoldSeat {
                id: SeatId(row.seat_id?),
                number: row.seat_number.clone()?,
                concert_id: ConcertId(row.concert_id?),
                tier_id: TierId(row.ticket_tier_id?),
                price: Price::new(row.price?).ok()?,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let row = &rows[0];
    Some(Booking::of_sale(
        row.sale_id?,
        CustomerName::parse(row.user_name.as_deref()?).ok()?,
        Email::parse(row.user_email.as_deref()?).ok()?,
        row.sold_at?.into(),
        seats,
    ))
}

/// A row that none of our transactions writes: somebody has changed it by hand.
fn corrupt(row: &Row) -> sqlx::Error {
    sqlx::Error::Decode(
        format!("the booking {} is not in a state that a worker writes", row.ticket_id).into(),
    )
}
