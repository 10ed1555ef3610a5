//! Fills the queue, and measures how fast workers empty it.

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use hamro_e2e::installation::envelope;
use hamro_e2e::{Installation, Setup, wait_until};
use hamro_shared::queue::Parcel;
use sqlx::types::Uuid;
use tokio::time::Instant;

/// How the queue is filled and by whom it is emptied.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub workers: usize,
    /// Bookings a transaction.
    pub batch_max: usize,
    /// Bookings a message.
    pub parcel: usize,
}

impl Plan {
    /// One worker as it comes, and parcels as they are in a rush.
    pub const USUAL: Self = Self { workers: 1, batch_max: 500, parcel: Parcel::MAX_BOOKINGS };
    /// One booking a message, a transaction, an acknowledgement.
    pub const ONE_BY_ONE: Self = Self { workers: 1, batch_max: 1, parcel: 1 };
}

#[derive(Clone, Copy, Debug)]
pub struct Drained {
    /// Bookings a second, from when the workers are started until the last is settled.
    pub rate: f64,
    /// The largest of the workers, at its largest.
    pub peak_kilobytes: u64,
}

/// An empty installation whose workers are yet to start.
pub async fn installation() -> Result<Installation> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    // The api has put the schema in place, and has nothing else to do here.
    installation.stop_apis().await?;
    Ok(installation)
}

/// Has workers settle these bookings, each for the seats that are given.
pub async fn drain(installation: &mut Installation, plan: Plan, bookings: &[Vec<i64>]) -> Result<Drained> {
    let last = last_ticket(installation).await?;
    fill(installation, plan.parcel, bookings).await?;
    let batch_max = plan.batch_max.to_string();
    let began = Instant::now();
    for _ in 0..plan.workers {
        installation.start_worker(&[("BATCH_MAX", &batch_max)]).await?;
    }
    let wanted = i64::try_from(bookings.len())?;
    wait_until("the queue is drained", async || {
        // To count is work for the database: only when there is reason to.
        Ok((installation.waiting_messages().await? == 0).then_some(()))
    })
    .await?;
    wait_until("all bookings are settled", async || {
        let settled = settled_since(installation, last).await?;
        ensure!(settled <= wanted, "{settled} bookings are settled, of {wanted}");
        Ok((settled == wanted).then_some(()))
    })
    .await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut peak_kilobytes = 0;
    for worker in &installation.workers {
        peak_kilobytes = peak_kilobytes.max(worker.peak_kilobytes()?);
    }
    installation.stop_workers().await?;
    #[expect(clippy::cast_precision_loss, reason = "far from where it would matter")]
    let rate = bookings.len() as f64 / seconds;
    Ok(Drained { rate, peak_kilobytes })
}

/// The latest ticket that is settled. Tickets sort by the time of their issue.
async fn last_ticket(installation: &Installation) -> Result<Uuid> {
    let last = "SELECT ticket_id FROM bookings ORDER BY ticket_id DESC LIMIT 1";
    Ok(sqlx::query_scalar(last).fetch_optional(&installation.pool).await?.unwrap_or_default())
}

/// To count them all would take its time, with millions in the table.
async fn settled_since(installation: &Installation, last: Uuid) -> Result<i64> {
    let count = "SELECT count(*) FROM bookings WHERE ticket_id > $1";
    Ok(sqlx::query_scalar(count).bind(last).fetch_one(&installation.pool).await?)
}

async fn fill(installation: &Installation, parcel: usize, bookings: &[Vec<i64>]) -> Result<()> {
    let bodies = bookings.chunks(parcel).enumerate().map(|(number, bookings)| {
        let mut parcel = Parcel::default();
        for (place, seats) in bookings.iter().enumerate() {
            parcel.push(&envelope(&format!("customer{number}x{place}"), seats)?.encode());
        }
        anyhow::Ok(parcel.encode())
    });
    stream::iter(bodies)
        .map(async |body| installation.publish(&body?).await)
        .buffer_unordered(64)
        .try_collect::<()>()
        .await
}
