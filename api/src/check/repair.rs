//! The repairs that have one right result. Each is a transaction of its own, which locks what it changes in the order of the
//! workers. So programs may run meanwhile: at worst, they wait for a moment.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection};

use super::problem::Repair;
use super::sequences::{self, lock_against_inserts};

impl Repair {
    /// Does the repair, and returns what was done.
    pub async fn apply(&self, connection: &mut PgConnection) -> Result<String, sqlx::Error> {
        if let Self::Analyze { table } = self {
            // A constant of ours.
            sqlx::query(AssertSqlSafe(format!("ANALYZE {table}"))).execute(connection).await?;
            return Ok(format!("gathered statistics of {table}"));
        }
        let mut transaction = connection.begin().await?;
        let done = self.apply_in(&mut transaction).await?;
        transaction.commit().await?;
        Ok(done)
    }

    async fn apply_in(&self, connection: &mut PgConnection) -> Result<String, sqlx::Error> {
        Ok(match self {
            Self::Sequence { sequence, table, to } => {
                lock_against_inserts(connection, table).await?;
                let mut moved = *to;
                for known in sequences::all(connection).await? {
                    if known.name == *sequence {
                        moved = known.move_to(connection, *to).await?;
                    }
                }
                format!("moved {sequence} to {moved}")
            }
            Self::TierCounters => {
                let tiers = count_tiers(connection).await?;
                format!("counted the seats of {tiers} tiers")
            }
            Self::DescribeSoldSeats => {
                format!("described {} sold seats", describe_sold_seats(connection).await?)
            }
            Self::DigestCustomers => {
                format!("computed the digests of {} sales", digest_customers(connection).await?)
            }
            Self::FreeSeats => format!("made {} seats free", free_seats(connection).await?),
            Self::ConcertVersions => {
                format!("gave a version to {} concerts", version_concerts(connection).await?)
            }
            Self::Analyze { table } => format!("gathered statistics of {table}"),
        })
    }
}

/// Sets the counters of the tiers that differ from their seats. Returns how many.
async fn count_tiers(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    // Waits for sessions that hold seats. A session that changes counters has locked seats before. Reads continue.
    sqlx::query("LOCK TABLE seats IN EXCLUSIVE MODE").execute(&mut *connection).await?;
    let counted = sqlx::query!(
        r#"
        UPDATE ticket_tiers tier SET total = counted.total, available = counted.available
        FROM (
            SELECT tier.id, count(seat.id) AS total, count(seat.id) FILTER (WHERE seat.booked_at IS NULL) AS available
            FROM ticket_tiers tier LEFT JOIN seats seat ON seat.ticket_tier_id = tier.id
            GROUP BY tier.id
        ) counted
        WHERE counted.id = tier.id AND (tier.total <> counted.total OR tier.available <> counted.available)
        "#
    );
    Ok(counted.execute(connection).await?.rows_affected())
}

/// As the migration that describes earlier sales.
async fn describe_sold_seats(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let described = sqlx::query!(
        r#"
        UPDATE sale_seats sold
        SET concert_id = coalesce(sold.concert_id, seat.concert_id),
            ticket_tier_id = coalesce(sold.ticket_tier_id, seat.ticket_tier_id),
            section = coalesce(sold.section, seat.section), "row" = coalesce(sold."row", seat."row"),
            seat_number = coalesce(sold.seat_number, seat.seat_number)
        FROM seats seat
        WHERE seat.id = sold.seat_id
          AND num_nulls(sold.concert_id, sold.ticket_tier_id, sold.section, sold."row", sold.seat_number) > 0
        "#
    );
    Ok(described.execute(connection).await?.rows_affected())
}

/// As the migration that computes the digests of earlier sales.
async fn digest_customers(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let digested = sqlx::query!(
        r#"
        UPDATE sales sale
        SET customer_digest = customer_digest(address_without_tag(sale.user_email)),
            tagged_digest = CASE
                WHEN address_without_tag(sale.user_email) <> sale.user_email THEN customer_digest(sale.user_email)
            END
        WHERE sale.customer_digest IS NULL AND sale.user_email <> 'erased@customer.invalid'
          AND octet_length(sale.user_email) = char_length(sale.user_email)
          AND EXISTS (SELECT FROM sale_seats sold JOIN concerts concert ON concert.id = sold.concert_id
                      WHERE sold.sale_id = sale.id AND concert.begins_at > now())
        "#
    );
    Ok(digested.execute(connection).await?.rows_affected())
}

/// As if the seats were released now. Their releases are finished.
async fn free_seats(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let locked = sqlx::query_scalar!(
        r#"
        SELECT id FROM seats
        WHERE booked_at IS NULL AND free_from > now() + interval '1 minute'
        ORDER BY id
        FOR UPDATE
        "#
    );
    let seats = locked.fetch_all(&mut *connection).await?;
    let freed = sqlx::query!(
        r#"
        WITH moment AS MATERIALIZED (
            SELECT clock_timestamp() + interval '3 seconds' AS free_from
        ), finished AS (
            UPDATE releases SET is_finished = true, free_from = moment.free_from FROM moment
            WHERE NOT is_finished AND seat_ids && $1
        )
        UPDATE seats SET free_from = moment.free_from FROM moment WHERE id = ANY($1)
        "#,
        &seats
    );
    Ok(freed.execute(connection).await?.rows_affected())
}

/// As the migration that added the versions.
async fn version_concerts(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let versioned = sqlx::query!(
        "INSERT INTO freed_versions (concert_id) SELECT id FROM concerts ON CONFLICT DO NOTHING"
    );
    Ok(versioned.execute(connection).await?.rows_affected())
}
