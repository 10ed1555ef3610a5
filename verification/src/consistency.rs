//! Rules for the tables themselves. They hold whenever no booking is being settled, whatever was requested.

use anyhow::{Result, ensure};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

/// What the rules are checked for.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// These concerts, or the whole database.
    pub concerts: Option<Vec<Uuid>>,
    /// Customers whose e-mail address matches this pattern, or all.
    pub customers: Option<String>,
}

/// How the query of a rule is restricted: by its `$1`, which is null for the whole database.
enum By {
    Concerts,
    Customers,
}

/// Descriptions of inconsistencies, each with a query that counts them.
const RULES: [(&str, By, &str); 9] = [
    (
        "seats are in two live sales",
        By::Concerts,
        "SELECT count(*) FROM (
             SELECT FROM sale_seats WHERE released_at IS NULL
             AND ($1::uuid[] IS NULL OR seat_id IN (SELECT id FROM seats WHERE concert_id = ANY($1)))
             GROUP BY seat_id HAVING count(*) > 1) twice",
    ),
    (
        "seats are marked as sold without a live sale, or in one and not marked",
        By::Concerts,
        "SELECT count(*) FROM seats seat
         FULL JOIN (SELECT seat_id FROM sale_seats WHERE released_at IS NULL) live ON live.seat_id = seat.id
         WHERE (seat.booked_at IS NOT NULL) IS DISTINCT FROM (live.seat_id IS NOT NULL)
         AND ($1::uuid[] IS NULL OR seat.concert_id = ANY($1))",
    ),
    (
        "tiers have counters that differ from their seats",
        By::Concerts,
        "SELECT count(*) FROM ticket_tiers tier
         CROSS JOIN LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE booked_at IS NULL) AS available
                             FROM seats WHERE ticket_tier_id = tier.id) seats
         WHERE (tier.total <> seats.total OR tier.available <> seats.available)
         AND ($1::uuid[] IS NULL OR tier.concert_id = ANY($1))",
    ),
    (
        "sales belong to no confirmed booking",
        By::Concerts,
        "SELECT count(*) FROM sales sale
         WHERE NOT EXISTS (SELECT FROM bookings booking WHERE booking.ticket_id = sale.ticket_id
                           AND booking.status = 'confirmed' AND booking.sale_id = sale.id)
         AND ($1::uuid[] IS NULL OR EXISTS (SELECT FROM sale_seats sold JOIN seats seat ON seat.id = sold.seat_id
                                            WHERE sold.sale_id = sale.id AND seat.concert_id = ANY($1)))",
    ),
    (
        "confirmed bookings have no sale with seats",
        By::Customers,
        "SELECT count(*) FROM bookings booking
         WHERE booking.status = 'confirmed' AND ($1::text IS NULL OR booking.user_email LIKE $1)
         AND NOT EXISTS (SELECT FROM sales sale JOIN sale_seats sold ON sold.sale_id = sale.id
                         WHERE sale.id = booking.sale_id)",
    ),
    (
        "bookings share a sale without being retries of each other",
        By::Customers,
        "SELECT count(*) FROM bookings booking JOIN sales sale ON sale.id = booking.sale_id
         WHERE booking.ticket_id <> sale.ticket_id AND booking.alias_of IS DISTINCT FROM sale.ticket_id
         AND ($1::text IS NULL OR booking.user_email LIKE $1)",
    ),
    (
        "seats of sales do not exist, or belong to no sale",
        By::Concerts,
        "SELECT count(*) FROM sale_seats sold LEFT JOIN seats seat ON seat.id = sold.seat_id
         WHERE (seat.id IS NULL AND sold.released_at IS NULL
                OR NOT EXISTS (SELECT FROM sales sale WHERE sale.id = sold.sale_id))
         AND ($1::uuid[] IS NULL OR seat.concert_id = ANY($1))",
    ),
    (
        "seats of sales are not described",
        By::Concerts,
        "SELECT count(*) FROM sale_seats
         WHERE num_nulls(concert_id, ticket_tier_id, section, \"row\", seat_number) > 0
         AND ($1::uuid[] IS NULL OR seat_id IN (SELECT id FROM seats WHERE concert_id = ANY($1)))",
    ),
    (
        // Outside of a test, others use the database at the same time.
        "transactions are open",
        By::Concerts,
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
         AND $1::uuid[] IS NULL",
    ),
];

/// Returns an error that lists the broken rules of the whole database.
pub async fn check(connection: &mut PgConnection) -> Result<()> {
    let broken = broken_rules(connection, &Scope::default()).await?;
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    Ok(())
}

/// The broken rules, each with its number of rows. A database without a schema breaks none.
pub async fn broken_rules(connection: &mut PgConnection, scope: &Scope) -> Result<Vec<String>> {
    let mut broken_rules = Vec::new();
    if sqlx::query_scalar("SELECT to_regclass('bookings') IS NULL").fetch_one(&mut *connection).await? {
        return Ok(broken_rules);
    }
    for (broken, by, query) in RULES {
        let counting = match by {
            By::Concerts => sqlx::query_scalar(query).bind(&scope.concerts),
            By::Customers => sqlx::query_scalar(query).bind(&scope.customers),
        };
        let count: i64 = counting.fetch_one(&mut *connection).await?;
        if count > 0 {
            broken_rules.push(format!("{count} {broken}"));
        }
    }
    Ok(broken_rules)
}
