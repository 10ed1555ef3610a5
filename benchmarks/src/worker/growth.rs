//! The drain rate with years of bookings in the database.

use anyhow::Result;
use hamro_e2e::stats::print;
use sqlx::PgPool;

use crate::bare;
use crate::drain::{self, Plan};
use crate::kind::{Kind, concert};

/// The number of earlier bookings.
const PAST: i64 = 10_000_000;

const BOOKINGS: usize = 200_000;
const ROUNDS: usize = 3;

pub async fn run() -> Result<()> {
    drain::without_workers(async |deployment| {
        let pool = deployment.pool.clone();
        for past in [0, PAST] {
            if past > 0 {
                have_sold(&pool, past).await?;
            }
            for round in 1..=ROUNDS {
                let bookings = Kind::DistinctSeats.bookings(&pool, BOOKINGS).await?;
                let worker = drain::drain(deployment, Plan::USUAL, &bookings).await?.rate;
                let bookings = Kind::DistinctSeats.bookings(&pool, BOOKINGS).await?;
                let bare = bare::sell(&pool, Plan::USUAL.batch_max, &bookings).await?;
                print(format!(
                    "growth, round {round} with at least {past} bookings in the database: {worker:.0} bookings/s = {:.2} of \
                     the bare statements ({bare:.0}/s)",
                    worker / bare
                ));
            }
        }
        Ok(())
    })
    .await
}

/// Inserts this many confirmed bookings, one concert after another.
async fn have_sold(pool: &PgPool, count: i64) -> Result<()> {
    const CONCERT: i32 = 100_000;
    for _ in 0..count / i64::from(CONCERT) {
        let seats = concert(pool, CONCERT, 1).await?;
        sqlx::query(
            "WITH sold AS (
                 UPDATE seats SET booked_at = now() WHERE id BETWEEN $1 AND $2 RETURNING *
             ), sale AS (
                 INSERT INTO sales (ticket_id, user_name, user_email, created_at)
                 SELECT overlay(gen_random_uuid()::text PLACING lpad(to_hex(id), 8, '0') FROM 1 FOR 8)::uuid,
                        'Customer ' || id, 'customer' || id || '@example.com', now()
                 FROM sold RETURNING id, ticket_id, user_name, user_email
             ), placed AS (
                 INSERT INTO sale_seats (sale_id, position, seat_id, price, concert_id, ticket_tier_id, section, \"row\",
                                         seat_number)
                 SELECT sale.id, 0, sold.id, 10, concert_id, ticket_tier_id, section, \"row\", seat_number
                 FROM sale JOIN sold ON sold.id = substr(user_name, 10)::integer
             ), counted AS (
                 UPDATE ticket_tiers SET available = 0
                 WHERE id = (SELECT ticket_tier_id FROM seats WHERE id = $1)
             )
             INSERT INTO bookings (ticket_id, status, settled_at, request_hash, user_name, user_email, sale_id)
             SELECT ticket_id, 'confirmed', now(), sha256(ticket_id::text::bytea), user_name, user_email, id FROM sale",
        )
        .bind(i32::try_from(seats[0])?)
        .bind(i32::try_from(seats[seats.len() - 1])?)
        .execute(pool)
        .await?;
    }
    sqlx::raw_sql("VACUUM ANALYZE").execute(pool).await?;
    Ok(())
}
