//! Limits the requests per second of each client. Off unless `RATE_LIMIT_PER_SECOND` is set.
//!
//! Each instance counts separately. The headers follow draft-ietf-httpapi-ratelimit-headers-10.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use hamro_shared::config::Env;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::http::client_address::{ClientAddress, TrustedProxies};
use crate::http::problem::Problem;
use crate::http::retry_after::whole_seconds;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How often idle clients are evicted.
const EVICTION_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct RateLimitConfig {
    /// The requests that a client may send per second, and in one burst.
    pub per_second: Option<NonZeroU32>,
    pub trusted_proxies: TrustedProxies,
}

impl RateLimitConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let per_second = env
            .variable(
                "RATE_LIMIT_PER_SECOND",
                "Requests per second from one client to this instance. An IPv6 client is a /64 network.",
                "a number such as 20",
            )
            .optional();
        let trusted_proxies = TrustedProxies::read(env);
        Some(Self { per_second: per_second?, trusted_proxies: trusted_proxies? })
    }
}

type Limiter = RateLimiter<
    ClientAddress,
    DefaultKeyedStateStore<ClientAddress>,
    DefaultClock,
    StateInformationMiddleware,
>;

pub struct RateLimit {
    limiter: Limiter,
    clock: DefaultClock,
    policy: HeaderValue,
    per_second: NonZeroU32,
    trusted_proxies: TrustedProxies,
}

impl RateLimit {
    /// Returns `None` if no limit is configured.
    pub fn new(config: &RateLimitConfig) -> Option<Self> {
        let per_second = config.per_second?;
        let limiter = RateLimiter::keyed(Quota::per_second(per_second)).with_middleware();
        let policy =
            HeaderValue::try_from(format!("\"client\";q={per_second};w=1")).expect("the text is ASCII");
        let trusted_proxies = config.trusted_proxies.clone();
        Some(Self { limiter, clock: DefaultClock::default(), policy, per_second, trusted_proxies })
    }

    /// Counts a request. Returns the headers that describe the client's quota, or a problem if the client has used it
    /// up.
    pub fn check(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<[(HeaderName, HeaderValue); 2], Problem> {
        let Some(peer) = peer else {
            // Never happens in production: the server adds the peer's address to every request.
            return Ok(self.headers(self.per_second.get(), 0));
        };
        match self.limiter.check_key(&ClientAddress::of(self.trusted_proxies.client_ip(peer, headers))) {
            Ok(state) => Ok(self.headers(state.remaining_burst_capacity(), 1)),
            Err(not_until) => {
                let wait = whole_seconds(not_until.wait_time_from(self.clock.now())).max(1);
                let problem = Problem::rate_limited(self.per_second).with_header(RETRY_AFTER, wait.into());
                Err(self
                    .headers(0, wait)
                    .into_iter()
                    .fold(problem, |problem, (name, value)| problem.with_header(name, value)))
            }
        }
    }

    /// Until `stop` is cancelled, evicts the clients that have been idle for so long that their quota is full again.
    pub async fn evict_idle(&self, stop: CancellationToken) {
        let mut ticks = interval(EVICTION_INTERVAL);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }

    /// Builds the headers. The client may send `remaining` more requests now, and more after `reset` seconds.
    fn headers(&self, remaining: u32, reset: u64) -> [(HeaderName, HeaderValue); 2] {
        let state =
            HeaderValue::try_from(format!("\"client\";r={remaining};t={reset}")).expect("the text is ASCII");
        [(RATE_LIMIT_POLICY, self.policy.clone()), (RATE_LIMIT, state)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_above_its_limit_is_refused_and_others_are_not() {
        let limit = RateLimit::new(&RateLimitConfig {
            per_second: NonZeroU32::new(3),
            trusted_proxies: TrustedProxies::default(),
        })
        .unwrap();
        let check = |peer: &str| limit.check(peer.parse().ok(), &HeaderMap::new());
        assert_eq!(check("198.51.100.1").unwrap()[1].1, "\"client\";r=2;t=1");
        // The quota refills while the test runs, but not by this much.
        assert!((0..1_000).any(|_| check("198.51.100.1").is_err()));
        assert!(check("198.51.100.2").is_ok());
    }
}
