//! A limit of the bookings per second that all instances share by [`demand`](super::demand): of all bookings, or of those of one
//! concert.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::demand::Demand;
use super::token_bucket::TokenBucket;

/// The demand for the bookings, and the limit of them while there is one.
#[derive(Default)]
pub struct SharedLimit {
    pub demand: Demand,
    limit: Option<Limit>,
}

struct Limit {
    per_second: NonZeroU32,
    /// Fills at the rate of this instance's share.
    bucket: TokenBucket,
}

impl SharedLimit {
    /// For other bookings, which nobody has requested yet, shared by the same instances.
    pub fn among_the_same_instances(&self) -> Self {
        Self { demand: self.demand.among_the_same_instances(), limit: None }
    }

    /// Sets the limit, and the rate of this instance to its share. `None`: no limit.
    pub fn set(&mut self, per_second: Option<NonZeroU32>, now: Instant) {
        let Some(per_second) = per_second else {
            self.limit = None;
            return;
        };
        let rate = f64::from(per_second.get()) * self.demand.share(now);
        let limit = self.limit.get_or_insert_with(|| Limit { per_second, bucket: TokenBucket::new(now) });
        limit.per_second = per_second;
        limit.bucket.set_rate(rate, now);
    }

    /// Whether one more booking is within the limit. Uses up nothing of it.
    ///
    /// # Errors
    /// How long it takes, at the limit, to accept what is requested in a second.
    pub fn check(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(limit) = &mut self.limit else { return Ok(()) };
        if limit.bucket.has_token(now) {
            return Ok(());
        }
        let seconds = self.demand.total(now) / f64::from(limit.per_second.get());
        Err(Duration::from_secs_f64(seconds.clamp(1.0, 3600.0)))
    }

    /// Uses up the part of one booking, which [`Self::check`] has found within the limit.
    pub fn take(&mut self, now: Instant) {
        if let Some(limit) = &mut self.limit {
            limit.bucket.take(now);
        }
    }
}
