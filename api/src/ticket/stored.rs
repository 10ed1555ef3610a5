//! The rows about a ticket.

use hamro_shared::domain::{ConcertId, SeatId, TicketId, Timestamp};
use hamro_shared::queue::EnvelopeHeader;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::postgres::PgConnection;

/// What the row of a ticket says besides its outcome. Empty without a row.
#[derive(Default)]
pub(super) struct StoredBooking {
    pub alias_of: Option<TicketId>,
    pub sale_id: Option<i64>,
    pub user_name: Option<String>,
    pub user_email: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    pub seat_id: SeatId,
    pub seat_number: Option<String>,
    pub row: Option<i32>,
    pub section: Option<String>,
    pub price: String,
    pub concert_id: Option<ConcertId>,
    pub concert: Option<String>,
    pub released_at: Option<Timestamp>,
}

/// Seats that an administrator has taken back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    pub released_at: Timestamp,
    pub released_by: String,
    pub reason: String,
    pub seat_ids: Vec<SeatId>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    pub id: i64,
    pub ticket_id: Option<TicketId>,
    pub created_at: Timestamp,
    pub reason: String,
    /// `reissued` or `discarded`.
    pub resolution: Option<String>,
    pub resolved_at: Option<Timestamp>,
    pub discard_reason: Option<String>,
    pub reissued_as: Option<TicketId>,
    /// The stored status of `reissued_as`.
    pub reissued_status: Option<String>,
    /// The trace of the booking, if it was exported.
    pub trace_id: Option<String>,
}

/// The dead letter whose booking was reissued under a ticket.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reissue {
    pub dead_letter_id: i64,
    pub ticket_id: Option<TicketId>,
}

/// The time by the database clock.
pub(super) async fn now(connection: &mut PgConnection) -> Result<Timestamp, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT now() AS "now!: Timestamp""#).fetch_one(connection).await
}

pub(super) async fn booking(
    connection: &mut PgConnection,
    ticket: TicketId,
) -> Result<StoredBooking, sqlx::Error> {
    let row = sqlx::query_as!(
        StoredBooking,
        r#"
        SELECT alias_of AS "alias_of: TicketId", sale_id, user_name, user_email FROM bookings WHERE ticket_id = $1
        "#,
        ticket as TicketId
    );
    Ok(row.fetch_optional(connection).await?.unwrap_or_default())
}

pub(super) async fn shared_by(
    connection: &mut PgConnection,
    ticket: TicketId,
) -> Result<Vec<TicketId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT ticket_id AS "ticket_id: TicketId" FROM bookings WHERE alias_of = $1 ORDER BY ticket_id"#,
        ticket as TicketId
    )
    .fetch_all(connection)
    .await
}

pub(super) async fn seats(connection: &mut PgConnection, sale: i64) -> Result<Vec<Seat>, sqlx::Error> {
    sqlx::query_as!(
        Seat,
        r#"
        SELECT sold.seat_id AS "seat_id: SeatId", sold.seat_number, sold."row", sold.section,
               sold.price::text AS "price!", sold.concert_id AS "concert_id: ConcertId",
               concerts.title AS "concert?", sold.released_at AS "released_at: Timestamp"
        FROM sale_seats sold
        LEFT JOIN concerts ON concerts.id = sold.concert_id
        WHERE sold.sale_id = $1
        ORDER BY sold.position
        "#,
        sale
    )
    .fetch_all(connection)
    .await
}

pub(super) async fn releases(connection: &mut PgConnection, sale: i64) -> Result<Vec<Release>, sqlx::Error> {
    sqlx::query_as!(
        Release,
        r#"
        SELECT released_at AS "released_at: Timestamp", released_by, reason, seat_ids AS "seat_ids: Vec<SeatId>"
        FROM releases WHERE sale_id = $1 ORDER BY id
        "#,
        sale
    )
    .fetch_all(connection)
    .await
}

/// The letters of the ticket, and those of the tickets under which its booking was reissued.
pub(super) async fn dead_letters(
    connection: &mut PgConnection,
    ticket: TicketId,
) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        WITH RECURSIVE chain AS (
            SELECT id, ticket_id, reissued_as FROM dead_letters WHERE ticket_id = $1
            UNION
            SELECT letter.id, letter.ticket_id, letter.reissued_as
            FROM dead_letters letter JOIN chain ON letter.ticket_id = chain.reissued_as
        )
        SELECT letter.id, letter.ticket_id AS "ticket_id: TicketId", letter.created_at AS "created_at: Timestamp",
               letter.reason, letter.resolution, letter.resolved_at AS "resolved_at: Timestamp",
               letter.discard_reason, letter.reissued_as AS "reissued_as: TicketId",
               again.status AS "reissued_status?", letter.payload
        FROM chain
        JOIN dead_letters letter ON letter.id = chain.id
        LEFT JOIN bookings again ON again.ticket_id = letter.reissued_as
        ORDER BY letter.created_at, letter.id
        "#,
        ticket as TicketId
    )
    .fetch_all(connection)
    .await?;
    let letters = rows.into_iter().map(|row| DeadLetter {
        id: row.id,
        ticket_id: row.ticket_id,
        created_at: row.created_at,
        reason: row.reason,
        resolution: row.resolution,
        resolved_at: row.resolved_at,
        discard_reason: row.discard_reason,
        reissued_as: row.reissued_as,
        reissued_status: row.reissued_status,
        trace_id: trace_id(&row.payload),
    });
    Ok(letters.collect())
}

fn trace_id(payload: &[u8]) -> Option<String> {
    let envelope: &RawValue = serde_json::from_slice(payload).ok()?;
    EnvelopeHeader::of(envelope).trace().map(|trace| trace.trace_id().to_string())
}

pub(super) async fn reissue_of(
    connection: &mut PgConnection,
    ticket: TicketId,
) -> Result<Option<Reissue>, sqlx::Error> {
    sqlx::query_as!(
        Reissue,
        r#"
        SELECT id AS dead_letter_id, ticket_id AS "ticket_id: TicketId" FROM dead_letters WHERE reissued_as = $1
        ORDER BY id LIMIT 1
        "#,
        ticket as TicketId
    )
    .fetch_optional(connection)
    .await
}
