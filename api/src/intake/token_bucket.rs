//! Admits bookings at a rate that changes while it is used.
//!
//! The library that limits requests per client has a fixed rate for each limiter. A new limiter for each change of the rate,
//! twice a second, would admit a burst each time.

use tokio::time::Instant;

/// How much of a second's tokens may be saved up. At least one token is.
const BURST_SECONDS: f64 = 0.1;

/// Holds a token for each booking that may be admitted.
#[derive(Debug)]
pub struct TokenBucket {
    tokens: f64,
    filled_at: Instant,
    per_second: f64,
}

impl TokenBucket {
    /// An empty bucket, which stays empty until it has a rate.
    pub fn new(now: Instant) -> Self {
        Self { tokens: 0.0, filled_at: now, per_second: 0.0 }
    }

    pub fn set_rate(&mut self, per_second: f64, now: Instant) {
        self.fill(now);
        self.per_second = per_second;
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let has_token = self.tokens >= 1.0;
        if has_token {
            self.tokens -= 1.0;
        }
        has_token
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        let most = (self.per_second * BURST_SECONDS).max(1.0);
        self.tokens = (self.tokens + self.per_second * elapsed).min(most);
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// How many are admitted in ten seconds of constant demand, with a rate that is set again twice a second.
    fn admitted(per_second: f64) -> u32 {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        let mut admitted = 0;
        for millis in 0..10_000 {
            let now = start + MILLISECOND * millis;
            if millis % 500 == 0 {
                bucket.set_rate(per_second, now);
            }
            admitted += u32::from(bucket.take(now));
        }
        admitted
    }

    #[test]
    fn as_many_are_admitted_as_the_rate_permits_however_often_it_is_set() {
        for (per_second, expected) in [(50.0, 499..=500), (0.5, 4..=5), (333.0, 3_325..=3_330)] {
            assert!(expected.contains(&admitted(per_second)), "{} at {per_second}", admitted(per_second));
        }
    }

    #[test]
    fn an_idle_bucket_saves_a_tenth_of_a_second() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        bucket.set_rate(50.0, start);
        let later = start + Duration::from_hours(1);
        assert_eq!((0..100).filter(|_| bucket.take(later)).count(), 5);
        bucket.set_rate(0.0, later);
        assert!(!bucket.take(later + Duration::from_hours(1)));
    }
}
