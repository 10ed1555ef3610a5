//! The settings of the publisher.

use std::num::NonZeroUsize;
use std::time::Duration;

use hamro_shared::config::Env;

#[derive(Clone, Copy, Debug)]
pub struct PublisherConfig {
    /// The maximum number of bookings that wait for the publishing task. It does not count those that are published and
    /// wait for confirms: up to 32 parcels of up to 64 bookings.
    pub waiting_max: NonZeroUsize,
    /// How long to wait for the broker's confirm.
    pub confirm_timeout: Duration,
}

impl PublisherConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let waiting_max = env
            .variable(
                "PUBLISH_IN_FLIGHT_MAX",
                "Limit on the bookings that wait for the publishing task. Above it, bookings are refused with 503.",
                "a number such as 10000",
            )
            .or_default("10000");
        let confirm_timeout: Option<Duration> = env
            .variable(
                "CONFIRM_TIMEOUT",
                "How long to wait until the broker confirms a booking. At most 10 s.",
                "a duration such as 5s",
            )
            .or_default("5s");
        if confirm_timeout.is_some_and(|timeout| timeout.is_zero() || timeout > Duration::from_secs(10)) {
            env.record_error("CONFIRM_TIMEOUT should be more than 0 and at most 10s");
        }
        Some(Self { waiting_max: waiting_max?, confirm_timeout: confirm_timeout? })
    }
}
