//! The `Retry-After` header.

use std::time::Duration;

use axum::http::HeaderValue;
use rand::RngExt;

/// The longest wait that is ever requested, before randomisation.
const MAX_SECONDS: u64 = 40;

/// A `Retry-After` of the expected seconds, or up to half as many more. Each value is random, so that clients that
/// failed together do not retry together.
pub fn retry_after(expected_seconds: Option<u64>) -> HeaderValue {
    let seconds = expected_seconds.unwrap_or(1).clamp(1, MAX_SECONDS);
    rand::rng().random_range(seconds..=seconds + seconds.div_ceil(2)).into()
}

/// The duration in seconds, rounded up.
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
