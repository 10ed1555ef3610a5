//! The upper limit: how fast one connection can execute the bare statements. It writes the same rows to the same tables
//! as a worker, under the same locks and with as few statements, from prepared values. Nothing is received, decoded,
//! looked up, decided, announced or acknowledged.

use anyhow::Result;
use hamro_e2e::installation::envelope;
use hamro_shared::queue::Envelope;
use sqlx::postgres::PgConnection;
use sqlx::types::Uuid;
use sqlx::{Connection, PgPool};
use tokio::time::Instant;

/// The values that one transaction writes.
struct Batch {
    tickets: Vec<Uuid>,
    hashes: Vec<Vec<u8>>,
    names: Vec<String>,
    emails: Vec<String>,
    /// For each seat, the 1-based index of its booking.
    seat_of: Vec<i32>,
    seats: Vec<i32>,
}

/// Sells the seats of each booking in batches of this size. Returns the bookings per second.
pub async fn sell(pool: &PgPool, batch: usize, bookings: &[Vec<i64>]) -> Result<f64> {
    let batches: Vec<Batch> = bookings.chunks(batch).map(Batch::of).collect::<Result<_>>()?;
    let mut connection = pool.acquire().await?;
    let began = Instant::now();
    for batch in &batches {
        batch.sell(&mut connection).await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "the values are small enough")]
    let rate = bookings.len() as f64 / began.elapsed().as_secs_f64();
    Ok(rate)
}

impl Batch {
    fn of(bookings: &[Vec<i64>]) -> Result<Self> {
        let mut batch = Self {
            tickets: Vec::new(),
            hashes: Vec::new(),
            names: Vec::new(),
            emails: Vec::new(),
            seat_of: Vec::new(),
            seats: Vec::new(),
        };
        for (index, seats) in (1..).zip(bookings) {
            let Envelope { ticket, request, .. } = envelope(&format!("customer{index}"), seats)?;
            batch.tickets.push(ticket.id.0);
            batch.hashes.push(request.hash().0.to_vec());
            batch.names.push(request.user_name().as_str().to_owned());
            batch.emails.push(request.user_email().as_str().to_owned());
            for seat in seats {
                batch.seat_of.push(index);
                batch.seats.push(i32::try_from(*seat)?);
            }
        }
        Ok(batch)
    }

    async fn sell(&self, connection: &mut PgConnection) -> Result<()> {
        let mut transaction = connection.begin().await?;
        let tiers: Vec<i32> = sqlx::query_scalar(
            "SELECT ticket_tier_id FROM seats WHERE id = ANY($1) AND booked_at IS NULL ORDER BY id FOR UPDATE",
        )
        .bind(&self.seats)
        .fetch_all(&mut *transaction)
        .await?;
        let sales: Vec<i64> = sqlx::query_scalar(
            "INSERT INTO sales (ticket_id, user_name, user_email, created_at)
             SELECT ticket, name, email, now() FROM unnest($1::uuid[], $2::text[], $3::text[]) AS t (ticket, name, email)
             RETURNING id",
        )
        .bind(&self.tickets)
        .bind(&self.names)
        .bind(&self.emails)
        .fetch_all(&mut *transaction)
        .await?;
        sqlx::query(
            "WITH sold AS (
                 INSERT INTO sale_seats (sale_id, position, seat_id, price)
                 SELECT ($1::bigint[])[booking], row_number() OVER (PARTITION BY booking), seat, 10
                 FROM unnest($2::integer[], $3::integer[]) AS t (booking, seat)
             )
             UPDATE seats SET booked_at = now(), updated_at = now() WHERE id = ANY($3)",
        )
        .bind(&sales)
        .bind(&self.seat_of)
        .bind(&self.seats)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "INSERT INTO bookings (ticket_id, status, settled_at, request_hash, user_name, user_email, sale_id)
             SELECT ticket, 'confirmed', now(), hash, name, email, sale
             FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::bigint[]) AS t (ticket, hash, name, email, sale)",
        )
        .bind(&self.tickets)
        .bind(&self.hashes)
        .bind(&self.names)
        .bind(&self.emails)
        .bind(&sales)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE ticket_tiers tier SET available = available - sold.count
             FROM (SELECT id, count(*)::integer FROM unnest($1::integer[]) AS t (id) GROUP BY id) sold
             WHERE tier.id = sold.id",
        )
        .bind(&tiers)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }
}
