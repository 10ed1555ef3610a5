//! Whether the books balance: what must be true of the database at every moment at which nothing is under way.

use anyhow::{Result, ensure};
use sqlx::postgres::PgPool;

/// What is wrong if the query counts any.
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
        "tiers count other than what their seats say",
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
        "sales are shared by bookings that are no retries of each other",
        "SELECT count(*) FROM bookings b JOIN sales s ON s.id = b.sale_id
         WHERE b.ticket_id <> s.ticket_id AND b.alias_of IS DISTINCT FROM s.ticket_id",
    ),
    (
        "seats of sales do not exist",
        "SELECT count(*) FROM sale_seats l WHERE NOT EXISTS (SELECT FROM seats s WHERE s.id = l.seat_id)
         OR NOT EXISTS (SELECT FROM sales s WHERE s.id = l.sale_id)",
    ),
    (
        "transactions are left open",
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
         AND state LIKE 'idle in transaction%'",
    ),
];

/// Fails with the rules that are broken.
pub async fn check(pool: &PgPool) -> Result<()> {
    let imbalances = imbalances(pool).await?;
    ensure!(imbalances.is_empty(), "{}", imbalances.join("; "));
    Ok(())
}

/// The rules that are broken, each with how often. A database without a schema breaks none.
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

/// How often transactions have waited for each other in a circle, so that Postgres had to end one.
pub async fn deadlocks(pool: &PgPool) -> Result<i64> {
    let query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    Ok(sqlx::query_scalar(query).fetch_one(pool).await?)
}

/// How many rows a table has.
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
