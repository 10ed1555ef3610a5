//! Delays between retries.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use rand::RngExt;

/// Exponential delays up to a cap, with full jitter: each delay is drawn uniformly between zero and its bound. Clients
/// that fail together therefore do not retry together.
#[derive(Debug)]
pub struct Backoff {
    shape: ExponentialBuilder,
    bounds: ExponentialBackoff,
}

impl Backoff {
    pub fn new(first: Duration, cap: Duration) -> Self {
        let shape = ExponentialBuilder::new().with_min_delay(first).with_max_delay(cap).without_max_times();
        Self { shape, bounds: shape.build() }
    }

    pub fn next_delay(&mut self) -> Duration {
        let bound = self.bounds.next().unwrap_or_default();
        rand::rng().random_range(Duration::ZERO..=bound)
    }

    /// Sleeps for the next delay.
    #[expect(clippy::disallowed_methods, reason = "this is the back-off")]
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }

    /// Starts again with the first delay.
    pub fn reset(&mut self) {
        self.bounds = self.shape.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_their_growing_bounds_and_never_run_out() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        let bounds = [100, 200, 400, 800, 1600, 2000, 2000];
        for bound in bounds {
            assert!(backoff.next_delay() <= Duration::from_millis(bound));
        }
        for _ in 0..1_000 {
            assert!(backoff.next_delay() <= Duration::from_secs(2));
        }
    }
}
