//! When a client should come back.

use std::time::Duration;

use axum::http::HeaderValue;
use rand::RngExt;

/// The longest that a client is ever sent away for.
const MAX_SECONDS: u64 = 60;

/// A `Retry-After` for a client that has nothing to do before `expected` has passed: up to half as long again, drawn
/// anew for each, so that those who came together do not come back together.
pub fn retry_after(expected: Option<Duration>) -> HeaderValue {
    let seconds = expected.map_or(1, |expected| expected.as_secs().clamp(1, MAX_SECONDS));
    rand::rng().random_range(seconds..=seconds + seconds.div_ceil(2)).into()
}
