//! The hidden concert of the canary.
//!
//! Its seats can be booked only with the address that the concert is reserved for. The address is random, so that nobody can
//! guess it, and in a domain that cannot receive mail (RFC 2606, section 2): it is nobody's.

use hamro_shared::domain::{ConcertId, SeatId, TicketId};
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// The same in every installation. Ends with "canary" in ASCII.
pub const ID: ConcertId = ConcertId(Uuid::from_u128(0x0000_0000_0000_8000_8000_6361_6e61_7279));

/// Enough that a seat whose booking is still queued is not booked again before it has expired, at one run a minute.
const SEATS: i32 = 100;

/// Ids from 1 are given to listed ticket types, those of the demo concerts by hand.
const TICKET_TYPE: i32 = 0;

/// What the next run books, and for whom.
pub struct Place {
    pub seat: SeatId,
    pub customer: String,
}

/// Creates the concert unless it exists.
pub async fn create(session: &mut PgConnection) -> Result<(), sqlx::Error> {
    let exists = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM concerts WHERE id = $1) AS "exists!""#,
        ID as ConcertId
    );
    if exists.fetch_one(&mut *session).await? {
        return Ok(());
    }
    let mut transaction = session.begin().await?;
    // A test concert too: it can be deleted with its sales. Its limit is that no limit of the workers applies.
    sqlx::query!(
        "INSERT INTO concerts (id, title, artist, date, time, time_zone, venue, city, image, is_test, hidden, reserved_for,
                               seats_per_customer)
         VALUES ($1, 'Canary', 'hamro-api', '9999-01-01', '12:00', 'UTC', 'None', 'None', 'https://canary.invalid/', true, true,
                 $2, $3)",
        ID as ConcertId,
        format!("canary-{}@canary.invalid", Uuid::new_v4().simple()),
        SEATS
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "INSERT INTO ticket_types (id, name, hidden) VALUES ($1, 'Canary (internal)', true) ON CONFLICT DO NOTHING",
        TICKET_TYPE
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        r#"
        WITH tier AS (
            INSERT INTO ticket_tiers (concert_id, ticket_type_id, price, total, available)
            SELECT $1, id, 0, $2, $2 FROM ticket_types WHERE hidden
            RETURNING id
        )
        INSERT INTO seats (concert_id, ticket_tier_id, seat_number, "row", section)
        SELECT $1, tier.id, 'C-' || number, 1, 'canary' FROM tier, generate_series(1, $2) AS number
        "#,
        ID as ConcertId,
        SEATS
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}

/// Seats of the concert that are sold.
pub struct Sold {
    pub ticket: TicketId,
    pub seats: Vec<SeatId>,
    /// Whether the canary has booked them. A worker of an earlier version sells them to anybody.
    pub is_own: bool,
}

/// The seats that are sold, by ticket: a run was broken off, or its booking was settled late.
pub async fn sold(session: &mut PgConnection) -> Result<Vec<Sold>, sqlx::Error> {
    sqlx::query_as!(
        Sold,
        r#"
        SELECT sale.ticket_id AS "ticket: TicketId", array_agg(seat.id) AS "seats!: Vec<SeatId>",
               bool_and(sale.user_email = concert.reserved_for) AS "is_own!"
        FROM concerts concert
        JOIN seats seat ON seat.concert_id = concert.id
        JOIN sale_seats sold ON sold.seat_id = seat.id AND sold.released_at IS NULL
        JOIN sales sale ON sale.id = sold.sale_id
        WHERE concert.id = $1
        GROUP BY sale.ticket_id
        "#,
        ID as ConcertId
    )
    .fetch_all(session)
    .await
}

/// The next free seat after the one that was booked last. `None` if none is free.
pub async fn next_place(session: &mut PgConnection) -> Result<Option<Place>, sqlx::Error> {
    sqlx::query_as!(
        Place,
        r#"
        WITH next AS (
            SELECT seat.id, concert.reserved_for
            FROM concerts concert
            JOIN seats seat ON seat.concert_id = concert.id
            WHERE concert.id = $1 AND seat.booked_at IS NULL
                  AND (seat.free_from IS NULL OR seat.free_from < clock_timestamp())
            ORDER BY seat.id <= coalesce((SELECT last_seat_id FROM canary), 0), seat.id
            LIMIT 1
        ), noted AS (
            INSERT INTO canary (last_seat_id) SELECT id FROM next
            ON CONFLICT (is_only_row) DO UPDATE SET last_seat_id = excluded.last_seat_id
        )
        SELECT id AS "seat: SeatId", reserved_for AS "customer!" FROM next
        "#,
        ID as ConcertId
    )
    .fetch_optional(session)
    .await
}
