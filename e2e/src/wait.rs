//! Waiting for a condition, and never for a time.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{interval, timeout};

/// How long a condition may take to come true before the test fails: long enough for the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until `condition` yields something. `what` says what is waited for.
pub async fn wait_until<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let mut ticks = interval(Duration::from_millis(20));
    let waiting = async {
        loop {
            ticks.tick().await;
            if let Some(value) = condition().await? {
                return Ok(value);
            }
        }
    };
    timeout(PATIENCE, waiting).await.with_context(|| format!("waited in vain until {what}"))?
}
