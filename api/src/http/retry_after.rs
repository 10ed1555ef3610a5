//! When a client should come back.

use std::time::Duration;

use axum::http::HeaderValue;
use rand::RngExt;

/// The longest that a client is ever asked to stay away for, before the draw.
const MAX_SECONDS: u64 = 40;

/// A `Retry-After` for a client that has nothing to do before so many seconds have passed: up to half as long again, drawn
/// anew for each, so that those who came together do not come back together.
pub fn retry_after(expected_seconds: Option<u64>) -> HeaderValue {
    let seconds = expected_seconds.unwrap_or(1).clamp(1, MAX_SECONDS);
    rand::rng().random_range(seconds..=seconds + seconds.div_ceil(2)).into()
}

/// A duration as a client is told it: no less than it is.
pub fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
