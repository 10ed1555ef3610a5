//! How long a booking takes to be accepted, at a rate that does not depend on the answers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use hamro_e2e::{Installation, Setup};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::bare::{one_booking, publish};
use crate::{median, percentile, say};

const PER_SECOND: u32 = 1_000;
const SECONDS: u32 = 8;
const ROUNDS: usize = 3;

pub async fn run() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    installation.expects_leftovers = true;
    let installation = Arc::new(installation);
    let client = installation.client().clone();
    let body = Arc::new(one_booking()?);
    let (mut accepts, mut publishes) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let accept = open_loop(|n| {
            let client = client.clone();
            async move {
                let taken = client.create_booking(&format!("customer{n}"), &[i64::from(n) + 1]).await?;
                anyhow::ensure!(taken.status == 202, "{taken:?}");
                Ok(())
            }
        })
        .await?;
        let bare = open_loop(|_| {
            let (installation, body) = (installation.clone(), body.clone());
            async move { publish(&installation, &body).await }
        })
        .await?;
        for (what, figures) in [("accepted", &accept), ("bare publish", &bare)] {
            say(format!(
                "latency, round {round}, {PER_SECOND}/s: {what}: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
                percentile(figures, 0.5) * 1e3,
                percentile(figures, 0.99) * 1e3,
                percentile(figures, 0.999) * 1e3,
            ));
        }
        accepts.push(percentile(&accept, 0.99));
        publishes.push(percentile(&bare, 0.99));
    }
    let (accept, bare) = (median(accepts), median(publishes));
    say(format!(
        "latency, medians of p99 at {PER_SECOND}/s: accepted {:.1} ms = {:.2} × a bare confirmed publish ({:.1} ms; wanted 2)",
        accept * 1e3,
        accept / bare,
        bare * 1e3
    ));
    let Some(installation) = Arc::into_inner(installation) else { return Ok(()) };
    installation.close().await
}

/// Starts one after the other when it is due, whatever has become of those before. Returns the seconds from when each was
/// due until it was done, sorted.
async fn open_loop<F>(start: impl Fn(u32) -> F) -> Result<Vec<f64>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let begin = Instant::now() + Duration::from_millis(100);
    let mut ticks = interval_at(begin, Duration::from_secs(1) / PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut running = Vec::new();
    for n in 0..PER_SECOND * SECONDS {
        let due = ticks.tick().await;
        let work = start(n);
        running.push(tokio::spawn(async move {
            work.await?;
            anyhow::Ok(due.elapsed().as_secs_f64())
        }));
    }
    let mut latencies = try_join_all(running).await?.into_iter().collect::<Result<Vec<_>>>()?;
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}
