//! Fills the queue, and measures how fast workers drain it.

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Deployment, Setup, wait_until};
use hamro_shared::queue::Parcel;
use sqlx::types::Uuid;
use tokio::time::Instant;

/// How the queue is filled and drained.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub workers: usize,
    /// Bookings per transaction.
    pub batch_max: usize,
    /// Bookings per message.
    pub parcel: usize,
    /// `SEATS_PER_CUSTOMER`.
    pub limit: Option<&'static str>,
}

impl Plan {
    /// One worker with its default settings, and full parcels, as under high load.
    pub const USUAL: Self = Self { workers: 1, batch_max: 500, parcel: Parcel::MAX_BOOKINGS, limit: None };
    /// One booking per message, transaction and acknowledgement.
    pub const ONE_BY_ONE: Self = Self { workers: 1, batch_max: 1, parcel: 1, limit: None };
}

#[derive(Clone, Copy, Debug)]
pub struct Drained {
    /// Bookings per second, from the start of the workers until the last booking is settled.
    pub rate: f64,
    /// The largest peak memory of any worker.
    pub peak_kilobytes: u64,
}

/// Measures on an empty deployment without workers.
pub async fn without_workers<T>(measure: impl AsyncFnOnce(&mut Deployment) -> Result<T>) -> Result<T> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        // The api was only needed to create the schema.
        deployment.stop_apis().await?;
        measure(deployment).await
    })
    .await
}

/// Publishes bookings of these seats, starts workers, and measures how fast they settle them.
pub async fn drain(deployment: &mut Deployment, plan: Plan, bookings: &[Vec<i64>]) -> Result<Drained> {
    let last = last_ticket(deployment).await?;
    fill(deployment, plan.parcel, bookings).await?;
    let batch_max = plan.batch_max.to_string();
    let mut settings = vec![("BATCH_MAX", batch_max.as_str())];
    settings.extend(plan.limit.map(|limit| ("SEATS_PER_CUSTOMER", limit)));
    let began = Instant::now();
    for _ in 0..plan.workers {
        deployment.start_worker(&settings).await?;
    }
    let wanted = i64::try_from(bookings.len())?;
    wait_until("the queue is drained", async || {
        // Counting rows loads the database, so wait for an empty queue first.
        Ok((deployment.waiting_messages().await? == 0).then_some(()))
    })
    .await?;
    wait_until("all bookings are settled", async || {
        let settled = settled_since(deployment, last).await?;
        ensure!(settled <= wanted, "{settled} bookings are settled, but only {wanted} were published");
        Ok((settled == wanted).then_some(()))
    })
    .await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut peak_kilobytes = 0;
    for worker in &deployment.workers {
        peak_kilobytes = peak_kilobytes.max(worker.peak_kilobytes()?);
    }
    deployment.stop_workers().await?;
    #[expect(clippy::cast_precision_loss, reason = "the values are small enough")]
    let rate = bookings.len() as f64 / seconds;
    Ok(Drained { rate, peak_kilobytes })
}

/// The latest settled ticket. Tickets sort by the time of their issue.
async fn last_ticket(deployment: &Deployment) -> Result<Uuid> {
    let last = "SELECT ticket_id FROM bookings ORDER BY ticket_id DESC LIMIT 1";
    Ok(sqlx::query_scalar(last).fetch_optional(&deployment.pool).await?.unwrap_or_default())
}

/// Counts only newer tickets, because the table may have millions of rows.
async fn settled_since(deployment: &Deployment, last: Uuid) -> Result<i64> {
    let count = "SELECT count(*) FROM bookings WHERE ticket_id > $1";
    Ok(sqlx::query_scalar(count).bind(last).fetch_one(&deployment.pool).await?)
}

async fn fill(deployment: &Deployment, parcel: usize, bookings: &[Vec<i64>]) -> Result<()> {
    let bodies = bookings.chunks(parcel).enumerate().map(|(number, bookings)| {
        let mut parcel = Parcel::default();
        for (place, seats) in bookings.iter().enumerate() {
            parcel.push(&envelope(&format!("customer{number}x{place}"), seats)?.encode());
        }
        anyhow::Ok(parcel.encode())
    });
    stream::iter(bodies)
        .map(async |body| deployment.publish(&body?).await)
        .buffer_unordered(64)
        .try_collect::<()>()
        .await
}
