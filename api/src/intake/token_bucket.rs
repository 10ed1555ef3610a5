//! Admits bookings at a rate that changes while it is used.
//!
//! The library that limits requests per client has a fixed rate for each limiter. A new limiter for each change of the rate,
//! twice a second, would admit a burst each time.

use tokio::time::Instant;

/// For how long tokens are saved up, in seconds, besides the one that is next: long enough that none is lost while the bucket
/// waits for the next request.
const SAVED_SECONDS: f64 = 0.25;

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

    pub fn has_token(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= 1.0
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let has_token = self.has_token(now);
        if has_token {
            self.tokens -= 1.0;
        }
        has_token
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
        let most = 1.0 + self.per_second * SAVED_SECONDS;
        self.tokens = (self.tokens + self.per_second * elapsed).min(most);
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// How many are admitted in ten seconds, with a request in each of these periods and a rate that is set again twice a
    /// second.
    fn admitted(per_second: f64, request_every: u32) -> u32 {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        let mut admitted = 0;
        for millis in 0..10_000 {
            let now = start + MILLISECOND * millis;
            if millis % 500 == 0 {
                bucket.set_rate(per_second, now);
            }
            admitted += u32::from(millis % request_every == 0 && bucket.take(now));
        }
        admitted
    }

    #[test]
    fn as_many_are_admitted_as_the_rate_permits_however_often_it_is_set() {
        for (per_second, request_every, expected) in [
            (50.0, 1, 499..=500),
            (50.0, 15, 498..=500),
            (0.5, 1, 4..=5),
            (333.0, 1, 3_325..=3_330),
            (8.4, 50, 82..=84),
        ] {
            let admitted = admitted(per_second, request_every);
            assert!(expected.contains(&admitted), "{admitted} at {per_second} with {request_every} ms");
        }
    }

    #[test]
    fn an_idle_bucket_saves_the_tokens_of_a_quarter_of_a_second() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(start);
        bucket.set_rate(50.0, start);
        let later = start + Duration::from_hours(1);
        assert_eq!((0..100).filter(|_| bucket.take(later)).count(), 13);
        bucket.set_rate(0.0, later);
        assert!(!bucket.take(later + Duration::from_hours(1)));
    }
}
