//! The upper limit: how fast one connection can execute the statements of a worker's transaction with prepared values.

use anyhow::Result;
use hamro_verification::baseline::batch::PreparedBatch;
use sqlx::PgPool;
use tokio::time::Instant;

/// Sells the seats of each booking in batches of this size. Returns the bookings per second.
pub async fn sell(pool: &PgPool, batch: usize, bookings: &[Vec<i64>]) -> Result<f64> {
    let seats: Vec<Vec<i32>> = bookings
        .iter()
        .map(|seats| seats.iter().map(|seat| Ok(i32::try_from(*seat)?)).collect())
        .collect::<Result<_>>()?;
    let batches: Vec<PreparedBatch> = seats.chunks(batch).map(PreparedBatch::new).collect();
    let mut connection = pool.acquire().await?;
    let began = Instant::now();
    for batch in &batches {
        batch.settle(&mut connection).await?;
    }
    #[expect(clippy::cast_precision_loss, reason = "the values are small enough")]
    let rate = bookings.len() as f64 / began.elapsed().as_secs_f64();
    Ok(rate)
}
