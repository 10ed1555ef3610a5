//! Consistency rules of the database. They hold whenever no booking is being settled.

use anyhow::{Result, ensure};
use sqlx::postgres::PgPool;

/// Descriptions of inconsistencies, each with a query that counts them.
const RULES: [(&str, &str); 8] = [
    (
        "seats are in two live sales",
        "SELECT count(*) FROM (SELECT seat_id FROM sale_seats WHERE released_at IS NULL GROUP BY seat_id HAVING count(*) > 1) t",
    ),
    (
        "seats are sold without a sale, or in a sale and not sold",
        "SELECT count(*) FROM seats s FULL JOIN (SELECT seat_id FROM sale_seats WHERE released_at IS NULL) l
         ON l.seat_id = s.id WHERE (s.booked_at IS NOT NULL) IS DISTINCT FROM (l.seat_id IS NOT NULL)",
    ),
    (
        "tiers have counters that differ from their seats",
        "SELECT count(*) FROM ticket_tiers t
         CROSS JOIN LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE booked_at IS NULL) AS available
                             FROM seats WHERE ticket_tier_id = t.id) s
         WHERE t.total <> s.total OR t.available <> s.available",
    ),
    (
        "sales belong to no confirmed booking",
        "SELECT count(*) FROM sales s WHERE NOT EXISTS
         (SELECT FROM bookings b WHERE b.ticket_id = s.ticket_id AND b.status = 'confirmed' AND b.sale_id = s.id)",
    ),
    (
        "confirmed bookings have no sale with seats",
        "SELECT count(*) FROM bookings b WHERE b.status = 'confirmed' AND NOT EXISTS
         (SELECT FROM sales s JOIN sale_seats l ON l.sale_id = s.id WHERE s.id = b.sale_id)",
    ),
    (
        "bookings share a sale without being retries of each other",
        "SELECT count(*) FROM bookings b JOIN sales s ON s.id = b.sale_id
         WHERE b.ticket_id <> s.ticket_id AND b.alias_of IS DISTINCT FROM s.ticket_id",
    ),
    (
        "seats of sales do not exist",
        "SELECT count(*) FROM sale_seats l WHERE NOT EXISTS (SELECT FROM seats s WHERE s.id = l.seat_id)
         OR NOT EXISTS (SELECT FROM sales s WHERE s.id = l.sale_id)",
    ),
    (
        "transactions are open",
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
         AND state LIKE 'idle in transaction%'",
    ),
];

/// Returns an error that lists the broken rules.
pub async fn check(pool: &PgPool) -> Result<()> {
    let imbalances = imbalances(pool).await?;
    ensure!(imbalances.is_empty(), "{}", imbalances.join("; "));
    Ok(())
}

/// The broken rules, each with its number of rows. A database without a schema breaks none.
pub async fn imbalances(pool: &PgPool) -> Result<Vec<String>> {
    let mut imbalances = Vec::new();
    if sqlx::query_scalar("SELECT to_regclass('bookings') IS NULL").fetch_one(pool).await? {
        return Ok(imbalances);
    }
    for (broken, query) in RULES {
        let count: i64 = sqlx::query_scalar(query).fetch_one(pool).await?;
        if count > 0 {
            imbalances.push(format!("{count} {broken}"));
        }
    }
    Ok(imbalances)
}

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
        "dead_letters" => "SELECT count(*) FROM dead_letters",
        _ => anyhow::bail!("no table {table}"),
    };
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}
