use hamro_shared::domain::{ConcertId, Price, TierId};
use sqlx::postgres::PgConnection;

use crate::catalogue::ticket_tier::{TicketTier, TicketTierDetails};
use crate::http::pagination::Page;

/// The text before the list of columns, the text after it, and the arguments.
macro_rules! query_tiers {
    ($before:literal, $after:literal $(, $argument:expr)*) => {
        sqlx::query_as!(
            TicketTier,
            $before
                + r#" id AS "id: TierId", concert_id AS "concert_id: ConcertId", ticket_type_id, price AS "price: Price",
                      total, available "#
                + $after
            $(, $argument)*
        )
    };
}

/// Finds a tier of a concert that is not hidden.
pub async fn find(connection: &mut PgConnection, id: TierId) -> Result<Option<TicketTier>, sqlx::Error> {
    query_tiers!(
        "SELECT",
        r"
        FROM ticket_tiers tier
        WHERE id = $1 AND NOT EXISTS (SELECT FROM concerts WHERE concerts.id = tier.concert_id AND hidden)
        ",
        id as TierId
    )
    .fetch_optional(connection)
    .await
}

/// A page of the tiers of `concert`, or of all concerts but test concerts. Omits those of hidden concerts, and tiers whose
/// price is NaN: they cannot be sold, and must not hide the others.
pub async fn list(
    connection: &mut PgConnection,
    concert: Option<ConcertId>,
    page: Page,
) -> Result<Vec<TicketTier>, sqlx::Error> {
    query_tiers!(
        "SELECT",
        r"
        FROM ticket_tiers tier
        WHERE price <> 'NaN'
          AND (concert_id = $1 OR $1 IS NULL)
          AND NOT EXISTS (SELECT FROM concerts
                          WHERE concerts.id = tier.concert_id AND (hidden OR is_test AND $1 IS NULL))
        ORDER BY id
        LIMIT $2 OFFSET $3
        ",
        concert as Option<ConcertId>,
        page.limit,
        page.offset()
    )
    .fetch_all(connection)
    .await
}

/// The number of tiers that [`list`] shows.
pub async fn count(connection: &mut PgConnection, concert: Option<ConcertId>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        SELECT count(*) AS "count!"
        FROM ticket_tiers tier
        WHERE price <> 'NaN'
          AND (concert_id = $1 OR $1 IS NULL)
          AND NOT EXISTS (SELECT FROM concerts
                          WHERE concerts.id = tier.concert_id AND (hidden OR is_test AND $1 IS NULL))
        "#,
        concert as Option<ConcertId>
    )
    .fetch_one(connection)
    .await
}

/// All tiers of all concerts but test concerts. Omits tiers as [`list`] does.
pub async fn list_all(connection: &mut PgConnection) -> Result<Vec<TicketTier>, sqlx::Error> {
    query_tiers!(
        "SELECT",
        r"
        FROM ticket_tiers tier
        WHERE price <> 'NaN'
          AND NOT EXISTS (SELECT FROM concerts WHERE concerts.id = tier.concert_id AND (hidden OR is_test))
        ORDER BY id
        "
    )
    .fetch_all(connection)
    .await
}

/// What a tier belongs to.
pub struct LockedTier {
    pub concert_id: ConcertId,
    pub ticket_type_id: i32,
}

/// Locks the tier until the end of the transaction. Does not read its price, which may be NaN.
pub async fn lock(connection: &mut PgConnection, id: TierId) -> Result<Option<LockedTier>, sqlx::Error> {
    sqlx::query_as!(
        LockedTier,
        r#"
        SELECT concert_id AS "concert_id: ConcertId", ticket_type_id
        FROM ticket_tiers
        WHERE id = $1
        FOR NO KEY UPDATE
        "#,
        id as TierId
    )
    .fetch_optional(connection)
    .await
}

/// The oldest tier of this type of the concert. Earlier versions allowed several; the unique index has only the oldest.
pub async fn find_of_type(
    connection: &mut PgConnection,
    concert: ConcertId,
    ticket_type: i32,
) -> Result<Option<TierId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        SELECT id AS "id: TierId" FROM ticket_tiers WHERE concert_id = $1 AND ticket_type_id = $2 ORDER BY id LIMIT 1
        "#,
        concert as ConcertId,
        ticket_type
    )
    .fetch_optional(connection)
    .await
}

/// Violates a foreign key if the concert or the ticket type does not exist, and `ticket_tiers_type_of_concert` if the
/// concert has a tier of this type.
pub async fn insert(
    connection: &mut PgConnection,
    tier: TicketTierDetails,
) -> Result<TicketTier, sqlx::Error> {
    query_tiers!(
        "INSERT INTO ticket_tiers (concert_id, ticket_type_id, price) VALUES ($1, $2, $3) RETURNING",
        "",
        tier.concert_id as ConcertId,
        tier.ticket_type_id,
        tier.price as Price
    )
    .fetch_one(connection)
    .await
}

/// Changes everything but the concert. Violates a foreign key if the ticket type does not exist, and
/// `ticket_tiers_type_of_concert` if the concert has another tier of this type.
pub async fn update(
    connection: &mut PgConnection,
    id: TierId,
    tier: TicketTierDetails,
) -> Result<TicketTier, sqlx::Error> {
    query_tiers!(
        r"
        UPDATE ticket_tiers
        SET ticket_type_id = $2, price = $3, is_duplicate = is_duplicate AND ticket_type_id = $2
        WHERE id = $1
        RETURNING
        ",
        "",
        id as TierId,
        tier.ticket_type_id,
        tier.price as Price
    )
    .fetch_one(connection)
    .await
}

/// Adds `count` free seats to the tier's counters.
pub async fn add_seats(
    connection: &mut PgConnection,
    id: TierId,
    count: i32,
) -> Result<TicketTier, sqlx::Error> {
    query_tiers!(
        "UPDATE ticket_tiers SET total = total + $2, available = available + $2 WHERE id = $1 RETURNING",
        "",
        id as TierId,
        count
    )
    .fetch_one(connection)
    .await
}

/// Deletes the tier, whose seats must be locked, with its seats. Violates `seats_sold` if one is sold.
pub async fn delete(connection: &mut PgConnection, id: TierId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM ticket_tiers WHERE id = $1", id as TierId).execute(connection).await?;
    Ok(())
}
