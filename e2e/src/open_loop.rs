//! An open-loop load generator: its rate does not depend on the responses.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Starts `count` tasks at fixed times, whether or not earlier ones have finished. `start` receives the number of the
/// task and its due time. Returns the sorted latencies in seconds, each measured from the due time.
pub async fn open_loop<F>(per_second: u32, count: u32, start: impl Fn(u32, Instant) -> F) -> Result<Vec<f64>>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let begin = Instant::now() + Duration::from_millis(100);
    let mut ticks = interval_at(begin, Duration::from_secs(1) / per_second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut running = Vec::new();
    for n in 0..count {
        let due = ticks.tick().await;
        let work = start(n, due);
        running.push(tokio::spawn(async move {
            work.await?;
            anyhow::Ok(due.elapsed().as_secs_f64())
        }));
    }
    let mut latencies = try_join_all(running).await?.into_iter().collect::<Result<Vec<_>>>()?;
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}
