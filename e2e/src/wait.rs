//! Waits for conditions. Tests never sleep for a fixed time.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long a condition may take before the test fails. Long enough for the slowest machine.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

/// Waits until `condition` returns a value. `what` describes the condition.
pub async fn wait_until<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let mut ticks = interval(Duration::from_millis(20));
    // A condition that takes longer must not be checked without a pause: everything else of the test runs on this thread.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let waiting = async {
        loop {
            ticks.tick().await;
            if let Some(value) = condition().await? {
                return Ok(value);
            }
        }
    };
    timeout(TIMEOUT, waiting).await.with_context(|| format!("timed out waiting until {what}"))?
}
