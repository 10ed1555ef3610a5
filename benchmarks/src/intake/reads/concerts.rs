//! The concerts that are read, and those that are sold beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use hamro_e2e::client::ADMIN_TOKEN;
use hamro_e2e::stats::print;
use hamro_e2e::{Client, Deployment, wait_until};
use hamro_verification::catalogue::{CatalogueSetup, Size};
use hamro_verification::http;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Seats of a booking that sells a part of a concert in advance.
const SEATS_A_BOOKING: usize = 10;
const BOOKING_AT_ONCE: usize = 64;
const TIERS: usize = 3;
const TIMEOUT: Duration = Duration::from_mins(1);

pub struct Concert {
    pub id: String,
    pub first_seat: i64,
    pub free: Vec<i64>,
}

impl Concert {
    /// Creates a concert with this many seats, all of them free.
    pub async fn create(deployment: &Deployment, seats: usize) -> Result<Self> {
        let client = http::Client::new(&deployment.client().url(""), 1, TIMEOUT)?;
        let token = ADMIN_TOKEN.to_owned().into();
        let size = Size { seats, seats_a_concert: seats, tiers: TIERS };
        // After a measurement that has overloaded the api.
        wait_until_idle(deployment).await?;
        let created = wait_until("a concert is created", async || {
            match CatalogueSetup::new(&client, &token).make(size, "of the benchmark").await {
                Ok(created) => Ok(Some(created)),
                Err(error) if format!("{error:#}").contains("status is 503") => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await?;
        let free: Vec<i64> = created.seats.into_iter().map(i64::from).collect();
        let first_seat = *free.first().context("no seats")?;
        let concert = created.concerts.first().context("no concert")?;
        Ok(Self { id: concert.id.to_string(), first_seat, free })
    }

    /// Creates a concert of which every second seat is sold.
    pub async fn create_half_sold(deployment: &Deployment, seats: usize) -> Result<Self> {
        let mut concert = Self::create(deployment, seats).await?;
        let every_second =
            |remainder: usize| move |(place, seat): (usize, &i64)| (place % 2 == remainder).then_some(*seat);
        let sold: Vec<i64> = concert.free.iter().enumerate().filter_map(every_second(0)).collect();
        concert.free = concert.free.iter().enumerate().filter_map(every_second(1)).collect();
        concert.sell(deployment, sold).await?;
        Ok(concert)
    }

    /// Creates a concert without a free seat.
    pub async fn create_sold_out(deployment: &Deployment, seats: usize) -> Result<Self> {
        let mut concert = Self::create(deployment, seats).await?;
        let sold = std::mem::take(&mut concert.free);
        concert.sell(deployment, sold).await?;
        Ok(concert)
    }

    /// Books these seats, and waits until they are sold.
    async fn sell(&self, deployment: &Deployment, seats: Vec<i64>) -> Result<()> {
        let client = deployment.client();
        stream::iter(seats.chunks(SEATS_A_BOOKING).enumerate())
            .map(async |(number, seats)| {
                let response = client.create_booking(&format!("early{number}"), seats).await?;
                ensure!(response.status == 202, "{response:?}");
                anyhow::Ok(())
            })
            .buffer_unordered(BOOKING_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let free = i64::try_from(self.free.len())?;
        wait_until("the seats are sold", async || {
            let statement = "SELECT sum(available) FROM ticket_tiers WHERE concert_id = $1::uuid";
            let left: Option<i64> =
                sqlx::query_scalar(statement).bind(&self.id).fetch_one(&deployment.pool).await?;
            Ok((left == Some(free)).then_some(()))
        })
        .await
    }
}

/// Waits until all bookings are settled.
pub async fn wait_until_idle(deployment: &Deployment) -> Result<()> {
    wait_until("the queue is empty", async || {
        let queue = deployment.client().get("/queue").await?;
        Ok((queue.status == 200 && queue.body["depth"] == 0).then_some(()))
    })
    .await
}

/// Books seats at a fixed rate, whether or not earlier bookings have a response. Dropping it stops it.
pub struct Seller {
    task: tokio::task::JoinHandle<()>,
    accepted: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    started: Instant,
}

impl Seller {
    /// Books one seat after the other.
    pub fn start(client: &Client, seats: Vec<i64>, per_second: u32) -> Self {
        let (accepted, failed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (client, counts) = (client.clone(), (accepted.clone(), failed.clone()));
        let task = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / per_second);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for seat in seats {
                ticks.tick().await;
                let (client, (accepted, failed)) = (client.clone(), counts.clone());
                tokio::spawn(async move {
                    let response = client.create_booking(&format!("buyer{seat}"), &[seat]).await;
                    let is_accepted = response.is_ok_and(|response| response.status == 202);
                    let count = if is_accepted { accepted } else { failed };
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { task, accepted, failed, started: Instant::now() }
    }

    /// Stops, and returns the accepted bookings per second. Fails if bookings failed.
    pub fn stop(self) -> Result<f64> {
        let (accepted, failed) = (self.accepted.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed));
        ensure!(failed == 0, "{failed} bookings failed beside {accepted} accepted ones");
        if self.task.is_finished() {
            print("Note: all seats were booked before the end of the measurement");
        }
        Ok(f64::from(u32::try_from(accepted)?) / self.started.elapsed().as_secs_f64())
    }
}

impl Drop for Seller {
    fn drop(&mut self) {
        self.task.abort();
    }
}
