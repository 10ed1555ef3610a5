//! Load at a rate that does not depend on the answers.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Starts `count` pieces of work, one after the other when it is due, whatever has become of those before; each is told its
/// number and when it was due. Returns the seconds from when each was due until it was done, sorted.
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
