//! Counts of rows, for tests of a single effect.

use std::collections::HashSet;

use anyhow::Result;
use sqlx::postgres::PgPool;

/// The number of deadlocks that Postgres has resolved.
pub async fn deadlocks(pool: &PgPool) -> Result<i64> {
    let query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// The number of rows in a table.
pub async fn count(pool: &PgPool, table: &'static str) -> Result<i64> {
    let query = match table {
        "bookings" => "SELECT count(*) FROM bookings",
        "sales" => "SELECT count(*) FROM sales",
        "sale_seats" => "SELECT count(*) FROM sale_seats",
        "concerts" => "SELECT count(*) FROM concerts",
        "seats" => "SELECT count(*) FROM seats",
        "ticket_types" => "SELECT count(*) FROM ticket_types",
        "ticket_tiers" => "SELECT count(*) FROM ticket_tiers",
        "creation_keys" => "SELECT count(*) FROM creation_keys",
        "releases" => "SELECT count(*) FROM releases",
        "dead_letters" => "SELECT count(*) FROM dead_letters",
        _ => anyhow::bail!("no table {table}"),
    };
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// The seats that were released at least once.
pub async fn released_seats(pool: &PgPool) -> Result<HashSet<i32>> {
    let query = "SELECT DISTINCT seat_id FROM sale_seats WHERE released_at IS NOT NULL";
    let seats: Vec<i32> = sqlx::query_scalar(query).fetch_all(pool).await?;
    Ok(seats.into_iter().collect())
}
