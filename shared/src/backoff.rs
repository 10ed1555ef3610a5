//! How long to wait before trying again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use rand::RngExt;

/// Delays that double up to a cap, each drawn evenly between nothing and its bound (full jitter), so that those
/// who failed together do not come back together.
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

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        let bound = self.bounds.next().unwrap_or_default();
        rand::rng().random_range(Duration::ZERO..=bound)
    }

    /// Waits for the next delay.
    #[expect(clippy::disallowed_methods, reason = "this is the back-off")]
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }

    /// Starts from the first delay again.
    pub fn reset(&mut self) {
        self.bounds = self.shape.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_under_their_growing_bounds_and_never_end() {
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
