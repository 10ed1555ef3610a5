use hamro_shared::database::StoredDate;
use hamro_shared::domain::{ConcertId, Timestamp};
use sqlx::postgres::PgConnection;

use crate::catalogue::concert::Concert;
use crate::http::pagination::Page;

/// `SELECT … FROM concerts`, followed by the rest of the query.
macro_rules! select_concerts {
    ($rest:literal, $($argument:expr),*) => {
        sqlx::query_as!(
            Concert,
            r#"
            SELECT id AS "id: ConcertId", title, artist, date AS "date: StoredDate", time, time_zone, venue, city, image, description,
                   sales_open_at AS "sales_open_at: Timestamp", sales_close_at AS "sales_close_at: Timestamp", seats_per_customer,
                   is_test
            FROM concerts
            "# + $rest,
            $($argument),*
        )
    };
}

/// Finds a concert that is not hidden.
pub async fn find(connection: &mut PgConnection, id: ConcertId) -> Result<Option<Concert>, sqlx::Error> {
    select_concerts!("WHERE id = $1 AND NOT hidden", id as ConcertId).fetch_optional(connection).await
}

/// Finds the concert, and locks it until the end of the transaction.
pub async fn lock(connection: &mut PgConnection, id: ConcertId) -> Result<Option<Concert>, sqlx::Error> {
    select_concerts!("WHERE id = $1 FOR NO KEY UPDATE", id as ConcertId).fetch_optional(connection).await
}

/// Locks the concert until the end of the transaction, without reading it. Returns whether it exists.
pub async fn lock_only(connection: &mut PgConnection, id: ConcertId) -> Result<bool, sqlx::Error> {
    let found =
        sqlx::query_scalar!("SELECT id FROM concerts WHERE id = $1 FOR NO KEY UPDATE", id as ConcertId);
    Ok(found.fetch_optional(connection).await?.is_some())
}

/// Whether the concert is a test concert. `None` if there is no such concert.
pub async fn is_test(connection: &mut PgConnection, id: ConcertId) -> Result<Option<bool>, sqlx::Error> {
    sqlx::query_scalar!("SELECT is_test FROM concerts WHERE id = $1", id as ConcertId)
        .fetch_optional(connection)
        .await
}

/// Whether the database has a time zone with this name.
pub async fn is_time_zone(connection: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1) AS "exists!""#, name)
        .fetch_one(connection)
        .await
}

/// Whether a concert at this date and time has begun. The database must have its time zone.
pub async fn has_begun(connection: &mut PgConnection, concert: &Concert) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT concert_begins_at($1, $2, $3) <= now() AS "has_begun!""#,
        concert.date,
        concert.time,
        concert.time_zone
    )
    .fetch_one(connection)
    .await
}

/// A page of the concerts, or of the test concerts: first those to come, the next one first, then past ones, the most
/// recent first. Where the time zone is unknown, the order takes UTC instead.
pub async fn list(
    connection: &mut PgConnection,
    is_test: bool,
    page: Page,
) -> Result<Vec<Concert>, sqlx::Error> {
    select_concerts!(
        r"
        CROSS JOIN LATERAL (
            SELECT begins_at <= now() AS is_past,
                   CASE WHEN time_zone IS NULL THEN begins_at - interval '36 hours' + time::interval ELSE begins_at END
                       AS starts_at
        ) schedule
        WHERE is_test = $1 AND NOT hidden
        ORDER BY is_past, CASE WHEN NOT is_past THEN starts_at END, starts_at DESC, id
        LIMIT $2 OFFSET $3
        ",
        is_test,
        page.limit,
        page.offset()
    )
    .fetch_all(connection)
    .await
}

/// The number of concerts that [`list`] shows.
pub async fn count(connection: &mut PgConnection, is_test: bool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM concerts WHERE is_test = $1 AND NOT hidden"#,
        is_test
    )
    .fetch_one(connection)
    .await
}

pub async fn insert(connection: &mut PgConnection, concert: Concert) -> Result<Concert, sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO concerts (id, title, artist, date, time, venue, city, image, description, sales_open_at,
                              sales_close_at, is_test, time_zone, seats_per_customer)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
        "#,
        concert.id as ConcertId,
        concert.title,
        concert.artist,
        concert.date,
        concert.time,
        concert.venue,
        concert.city,
        concert.image,
        concert.description,
        concert.sales_open_at as Option<Timestamp>,
        concert.sales_close_at as Option<Timestamp>,
        concert.is_test,
        concert.time_zone,
        concert.seats_per_customer
    )
    .execute(connection)
    .await?;
    Ok(concert)
}

/// Replaces the concert with this id, except `is_test`.
pub async fn update(connection: &mut PgConnection, concert: Concert) -> Result<Concert, sqlx::Error> {
    sqlx::query!(
        r#"
        UPDATE concerts
        SET title = $2, artist = $3, date = $4, time = $5, venue = $6, city = $7, image = $8, description = $9,
            sales_open_at = $10, sales_close_at = $11, time_zone = $12, seats_per_customer = $13
        WHERE id = $1
        "#,
        concert.id as ConcertId,
        concert.title,
        concert.artist,
        concert.date,
        concert.time,
        concert.venue,
        concert.city,
        concert.image,
        concert.description,
        concert.sales_open_at as Option<Timestamp>,
        concert.sales_close_at as Option<Timestamp>,
        concert.time_zone,
        concert.seats_per_customer
    )
    .execute(connection)
    .await?;
    Ok(concert)
}

/// Deletes the concert, whose seats must be locked, with its tiers and seats. Returns whether it existed. Violates
/// `seats_sold` if a seat is sold.
pub async fn delete(connection: &mut PgConnection, id: ConcertId) -> Result<bool, sqlx::Error> {
    // With its seats locked, no worker has locked a customer of the concert.
    sqlx::query!("DELETE FROM customer_locks WHERE concert_id = $1", id as ConcertId)
        .execute(&mut *connection)
        .await?;
    let deleted =
        sqlx::query!("DELETE FROM concerts WHERE id = $1", id as ConcertId).execute(connection).await?;
    Ok(deleted.rows_affected() > 0)
}
