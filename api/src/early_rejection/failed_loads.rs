//! Which concerts could not be loaded, and how long each is left alone.

use std::collections::HashMap;
use std::time::Duration;

use hamro_shared::domain::ConcertId;
use tokio::time::Instant;

/// The pause after the first failure. It is doubled after each further one, up to the maximum: in a rush a concert is wanted soon,
/// and a load that always times out must not end the leases of all other concerts again and again.
const LOAD_AGAIN_AFTER: Duration = Duration::from_secs(1);
const LOAD_AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);

/// The concerts whose last load has failed.
#[derive(Default)]
pub struct FailedLoads {
    failed: HashMap<ConcertId, Failed>,
    running: Option<ConcertId>,
}

struct Failed {
    at: Instant,
    pause: Duration,
}

impl FailedLoads {
    /// A load begins. It has failed unless [`Self::succeeded`] is called before [`Self::end`].
    pub fn begin(&mut self, concert: ConcertId) {
        self.running = Some(concert);
    }

    pub fn succeeded(&mut self) {
        if let Some(concert) = self.running.take() {
            self.failed.remove(&concert);
        }
    }

    /// The load that has begun is over, perhaps because it was given up.
    pub fn end(&mut self) {
        let Some(concert) = self.running.take() else { return };
        let before = self.failed.get(&concert).map(|failed| failed.pause);
        let pause = before.map_or(LOAD_AGAIN_AFTER, |before| (2 * before).min(LOAD_AGAIN_AFTER_MAX));
        self.failed.insert(concert, Failed { at: Instant::now(), pause });
    }

    /// Whether the concert is not to be loaded yet.
    pub fn must_wait(&self, concert: ConcertId) -> bool {
        self.failed.get(&concert).is_some_and(|failed| failed.at.elapsed() < failed.pause)
    }

    /// Forgets the failures that were not followed by another soon after their pause.
    pub fn forget_old(&mut self) {
        self.failed.retain(|_, failed| failed.at.elapsed() < 2 * failed.pause + LOAD_AGAIN_AFTER_MAX);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;
    use uuid::Uuid;

    use super::*;

    const CONCERT: ConcertId = ConcertId(Uuid::nil());

    #[tokio::test(start_paused = true)]
    async fn each_failure_in_a_row_doubles_the_pause_however_long_the_load_took() {
        let mut loads = FailedLoads::default();
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            loads.begin(CONCERT);
            advance(Duration::from_secs(10)).await;
            loads.end();
            advance(Duration::from_millis(1_000 * seconds - 1)).await;
            loads.forget_old();
            assert!(loads.must_wait(CONCERT), "{seconds}");
            advance(Duration::from_millis(1)).await;
            assert!(!loads.must_wait(CONCERT), "{seconds}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_and_a_long_time_without_failures_end_the_doubling() {
        let mut loads = FailedLoads::default();
        for is_success in [true, false] {
            for _ in 0..3 {
                loads.begin(CONCERT);
                loads.end();
            }
            if is_success {
                loads.begin(CONCERT);
                loads.succeeded();
            } else {
                advance(Duration::from_mins(1)).await;
                loads.forget_old();
            }
            loads.end();
            assert!(!loads.must_wait(CONCERT));
            loads.begin(CONCERT);
            loads.end();
            advance(LOAD_AGAIN_AFTER).await;
            assert!(!loads.must_wait(CONCERT));
        }
    }
}
