use hamro_shared::domain::{ConcertId, SeatId, TierId};
use sqlx::postgres::PgConnection;

use crate::catalogue::seat_block::Block;
use crate::catalogue::seat_selection::SeatSelection;

/// Locks the seats of a concert in the order of their ids, as the workers do. This waits for sales in progress, after
/// which the trigger `seats_sold` protects their seats from deletion.
pub async fn lock_concert(connection: &mut PgConnection, concert: ConcertId) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT id FROM seats WHERE concert_id = $1 ORDER BY id FOR UPDATE", concert as ConcertId)
        .fetch_all(connection)
        .await?;
    Ok(())
}

/// Locks the seats of a tier, as [`lock_concert`] does those of a concert.
pub async fn lock_tier(connection: &mut PgConnection, tier: TierId) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT id FROM seats WHERE ticket_tier_id = $1 ORDER BY id FOR UPDATE", tier as TierId)
        .fetch_all(connection)
        .await?;
    Ok(())
}

/// Locks up to `count` seats of a concert, as [`lock_concert`] does all of them.
pub async fn lock_block(
    connection: &mut PgConnection,
    concert: ConcertId,
    count: i64,
) -> Result<Vec<SeatId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: SeatId" FROM seats WHERE concert_id = $1 ORDER BY id LIMIT $2 FOR UPDATE"#,
        concert as ConcertId,
        count
    )
    .fetch_all(connection)
    .await
}

/// A seat that is locked for its removal.
pub struct LockedSeat {
    pub id: SeatId,
    pub concert_id: ConcertId,
    pub section: String,
    pub row: i32,
    pub seat_number: String,
    pub is_sold: bool,
}

/// `SELECT … FROM seats`, followed by the rest of the query.
macro_rules! select_locked {
    ($rest:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            LockedSeat,
            r#"
            SELECT id AS "id: SeatId", concert_id AS "concert_id: ConcertId", section, "row", seat_number,
                   booked_at IS NOT NULL AS "is_sold!"
            FROM seats
            "# + $rest,
            $($argument),*
        )
    };
}

/// Locks a seat. This waits for a sale in progress.
pub async fn lock(connection: &mut PgConnection, id: SeatId) -> Result<Option<LockedSeat>, sqlx::Error> {
    select_locked!("WHERE id = $1 FOR UPDATE", id as SeatId).fetch_optional(connection).await
}

/// Locks the selected seats of a concert, as [`lock_concert`] does all of them.
pub async fn lock_selected(
    connection: &mut PgConnection,
    concert: ConcertId,
    selection: &SeatSelection,
) -> Result<Vec<LockedSeat>, sqlx::Error> {
    let (first_row, last_row) = selection.rows.unzip();
    select_locked!(
        r#"
        WHERE concert_id = $1 AND section = coalesce($2, section) AND ticket_tier_id = coalesce($3, ticket_tier_id)
          AND "row" BETWEEN coalesce($4, "row") AND coalesce($5, "row")
        ORDER BY id
        FOR UPDATE
        "#,
        concert as ConcertId,
        selection.section.as_deref(),
        selection.tier as Option<TierId>,
        first_row,
        last_row
    )
    .fetch_all(connection)
    .await
}

/// The rows that a section of a concert has.
pub struct ExistingRows {
    /// The first row in the range, if one of the range exists.
    pub first_in_range: Option<i32>,
    pub last: Option<i32>,
}

/// Which rows the section has, in the range from `first` to `last` and as a whole.
pub async fn existing_rows(
    connection: &mut PgConnection,
    concert: ConcertId,
    section: &str,
    first: i32,
    last: i32,
) -> Result<ExistingRows, sqlx::Error> {
    sqlx::query_as!(
        ExistingRows,
        r#"
        SELECT min("row") FILTER (WHERE "row" BETWEEN $3 AND $4) AS first_in_range, max("row") AS last
        FROM seats
        WHERE concert_id = $1 AND section = $2
        "#,
        concert as ConcertId,
        section,
        first,
        last
    )
    .fetch_one(connection)
    .await
}

/// Deletes these seats of a concert, and subtracts them from the counters of their tiers. Violates `seats_sold` if one
/// of them is sold, unless it belongs to a test concert and its sale has been deleted.
pub async fn delete_block(
    connection: &mut PgConnection,
    concert: ConcertId,
    seats: &[SeatId],
) -> Result<(), sqlx::Error> {
    // In the order in which the workers lock the tiers. The update would lock them in the order of its plan.
    sqlx::query!(
        "SELECT id FROM ticket_tiers WHERE concert_id = $1 ORDER BY id FOR NO KEY UPDATE",
        concert as ConcertId
    )
    .fetch_all(&mut *connection)
    .await?;
    sqlx::query!(
        r#"
        WITH deleted AS (
            DELETE FROM seats WHERE id = ANY($1) RETURNING ticket_tier_id, booked_at
        ), counted AS (
            SELECT ticket_tier_id, count(*) AS total, count(*) FILTER (WHERE booked_at IS NULL) AS available
            FROM deleted
            GROUP BY ticket_tier_id
        )
        UPDATE ticket_tiers tier
        SET total = tier.total - counted.total, available = tier.available - counted.available
        FROM counted
        WHERE tier.id = counted.ticket_tier_id
        "#,
        seats as &[SeatId]
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The first unused seat number of the concert with this prefix: the one after the largest. Labels that were written by
/// hand, such as `V-12A`, do not count.
pub async fn next_number(
    connection: &mut PgConnection,
    concert: ConcertId,
    prefix: &str,
) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        SELECT coalesce(max(substr(seat_number, length($2) + 2)::integer), 0) + 1 AS "next!"
        FROM seats
        WHERE concert_id = $1 AND starts_with(seat_number, $2 || '-')
          AND substr(seat_number, length($2) + 2) ~ '^[0-9]{1,9}$'
        "#,
        concert as ConcertId,
        prefix
    )
    .fetch_one(connection)
    .await
}

/// Inserts a block of seats, numbered from `first`. Returns how many.
pub async fn insert(
    connection: &mut PgConnection,
    concert: ConcertId,
    block: &Block,
    first: i32,
) -> Result<i32, sqlx::Error> {
    let inserted = sqlx::query!(
        r#"
        INSERT INTO seats (concert_id, ticket_tier_id, seat_number, "row", section)
        SELECT $1, $2, $3 || '-' || ($4::integer + n),
               coalesce($5, 1 + (SELECT max("row") FROM seats WHERE concert_id = $1 AND section = $6), 1)
                   + n / $7::integer,
               $6
        FROM generate_series(0, $8::integer * $7::integer - 1) AS n
        ORDER BY n
        "#,
        concert as ConcertId,
        block.tier as TierId,
        block.prefix,
        first,
        block.first_row,
        block.section,
        block.seats_per_row,
        block.rows
    )
    .execute(connection)
    .await?;
    Ok(i32::try_from(inserted.rows_affected()).unwrap_or(i32::MAX))
}
