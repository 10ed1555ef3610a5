//! The kinds of bookings that are measured.

use std::fmt;

use anyhow::Result;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use sqlx::PgPool;

use crate::bare;

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A different seat per booking, of one concert with exactly enough seats.
    DistinctSeats,
    /// A different seat per booking, of concerts with 3 000 seats that are on sale at the same time.
    ConcertsAtOnce,
    /// The same, but the concerts go on sale one after the other, so the seats of a batch are close together.
    ConcertsInTurn,
    /// A seat in each of two tiers.
    TwoTiers,
    SoldOut,
    HotSeat,
}

impl Kind {
    pub const ALL: [Self; 6] = [
        Self::DistinctSeats,
        Self::ConcertsAtOnce,
        Self::ConcertsInTurn,
        Self::TwoTiers,
        Self::SoldOut,
        Self::HotSeat,
    ];

    /// Prepares the database for this many bookings, and returns the seats of each.
    pub async fn bookings(self, pool: &PgPool, count: usize) -> Result<Vec<Vec<i64>>> {
        let seats = i32::try_from(count)?;
        match self {
            Self::DistinctSeats => Ok(shuffled(each(concert(pool, seats, 1).await?))),
            Self::ConcertsAtOnce => Ok(shuffled(small_concerts(pool, count).await?.concat())),
            Self::ConcertsInTurn => {
                Ok(small_concerts(pool, count).await?.into_iter().flat_map(shuffled).collect())
            }
            Self::TwoTiers => {
                let seats = concert(pool, seats * 2, 2).await?;
                let (one, other) = seats.split_at(count);
                Ok(shuffled(one.iter().zip(other).map(|(one, other)| vec![*one, *other]).collect()))
            }
            Self::SoldOut => {
                let seats = each(concert(pool, 3_000, 1).await?);
                bare::sell(pool, 500, &seats).await?;
                Ok(shuffled(seats.into_iter().cycle().take(count).collect()))
            }
            Self::HotSeat => Ok(vec![concert(pool, 3_000, 1).await?[..1].to_vec(); count]),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DistinctSeats => "distinct seats of one concert",
            Self::ConcertsAtOnce => "distinct seats of concerts with 3 000 seats, all on sale together",
            Self::ConcertsInTurn => "distinct seats of concerts with 3 000 seats, one after the other",
            Self::TwoTiers => "seats in two tiers",
            Self::SoldOut => "a sold-out concert",
            Self::HotSeat => "the same seat for all",
        })
    }
}

async fn small_concerts(pool: &PgPool, count: usize) -> Result<Vec<Vec<Vec<i64>>>> {
    let mut concerts = Vec::new();
    for _ in 0..count / 3_000 {
        concerts.push(each(concert(pool, 3_000, 1).await?));
    }
    Ok(concerts)
}

fn each(seats: Vec<i64>) -> Vec<Vec<i64>> {
    seats.into_iter().map(|seat| vec![seat]).collect()
}

/// Inserts a concert with this many seats, distributed evenly over its tiers. Returns the seat ids, tier by tier.
pub async fn concert(pool: &PgPool, seats: i32, tiers: i32) -> Result<Vec<i64>> {
    let ids: Vec<i32> = sqlx::query_scalar(
        "WITH concert AS (
             INSERT INTO concerts (title, artist, date, time, venue, city, image)
             VALUES ('Benchmark', 'Nobody', current_date + 365, '19:00', 'Nowhere', 'Nowhere', '') RETURNING id
         ), type AS (
             INSERT INTO ticket_types (name) SELECT 'Benchmark ' || gen_random_uuid() FROM generate_series(1, $2)
             RETURNING id
         ), tiers AS (
             INSERT INTO ticket_tiers (concert_id, ticket_type_id, price, total, available)
             SELECT concert.id, type.id, 10, $1 / $2, $1 / $2 FROM concert, type
             RETURNING id, concert_id
         ), placed AS (
             INSERT INTO seats (concert_id, ticket_tier_id, seat_number, \"row\", section)
             SELECT concert_id, tiers.id, 'S-' || tiers.id || '-' || n, n / 100, 'hall' FROM tiers, generate_series(1, $1 / $2) n
             RETURNING id, ticket_tier_id
         )
         SELECT id FROM placed ORDER BY ticket_tier_id, id",
    )
    .bind(seats)
    .bind(tiers)
    .fetch_all(pool)
    .await?;
    // Autovacuum would do this some seconds later.
    sqlx::raw_sql("VACUUM ANALYZE seats, ticket_tiers").execute(pool).await?;
    Ok(ids.into_iter().map(i64::from).collect())
}

/// Shuffles with a fixed seed: customers choose seats in no particular order.
fn shuffled<T>(mut items: Vec<T>) -> Vec<T> {
    items.shuffle(&mut SmallRng::seed_from_u64(1));
    items
}
