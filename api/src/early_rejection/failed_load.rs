//! How long a concert is left alone that could not be loaded.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after the first failure. It is doubled after each further one, up to the maximum: in a rush a concert is wanted soon,
/// and a load that always times out must not end the leases of all other concerts again and again.
const LOAD_AGAIN_AFTER: Duration = Duration::from_secs(1);
const LOAD_AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// The last attempt to load a concert.
pub struct FailedLoad {
    at: Instant,
    pause: Duration,
}

impl FailedLoad {
    /// An attempt that begins now. It counts as failed until it succeeds.
    pub fn begin(before: Option<&Self>) -> Self {
        let pause = before.map_or(LOAD_AGAIN_AFTER, |before| (2 * before.pause).min(LOAD_AGAIN_AFTER_MAX));
        Self { at: Instant::now(), pause }
    }

    /// Whether the concert is not to be loaded yet.
    pub fn must_wait(&self) -> bool {
        self.at.elapsed() < self.pause
    }

    /// Whether the next failure doubles the pause.
    pub fn is_recent(&self) -> bool {
        self.at.elapsed() < 2 * self.pause
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_failure_in_a_row_doubles_the_pause() {
        let mut failed = FailedLoad::begin(None);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            advance(Duration::from_millis(1_000 * seconds - 1)).await;
            assert!(failed.must_wait(), "{seconds}");
            advance(Duration::from_millis(1)).await;
            assert!(!failed.must_wait() && failed.is_recent(), "{seconds}");
            failed = FailedLoad::begin(Some(&failed));
        }
        advance(Duration::from_mins(1)).await;
        assert!(!failed.is_recent());
    }
}
