//! How many requests a client may make a second: `RATE_LIMIT_PER_SECOND`, off unless it is set.
//!
//! A client is an IPv4 address or an IPv6 network of 64 bits, which is what one customer of a provider gets. Behind a
//! proxy all requests come from the proxy's address; `TRUSTED_PROXIES` says whose `X-Forwarded-For` is believed.
//!
//! Each instance counts for itself. The headers are those of draft-ietf-httpapi-ratelimit-headers-10.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use hamro_shared::config::{Env, Setting};
use ipnet::IpNet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::http::problem::{Problem, ProblemCode};
use crate::http::retry_after::whole_seconds;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How often clients that have not been seen for long are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct RateLimitConfig {
    /// Requests that a client may make a second, and at once.
    pub per_second: Option<NonZeroU32>,
    pub trusted_proxies: TrustedProxies,
}

/// The addresses whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl Setting for TrustedProxies {
    fn parse(text: &str) -> Option<Self> {
        let network = |text: &str| {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        };
        text.split(',').map(network).collect::<Option<Vec<_>>>().map(Self)
    }
}

impl RateLimitConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let per_second =
            env.optional("RATE_LIMIT_PER_SECOND", "requests, such as 20", str::parse::<NonZeroU32>);
        let trusted_proxies = env.or(
            "TRUSTED_PROXIES",
            TrustedProxies::default(),
            "addresses or networks such as 10.0.0.0/8, separated by commas",
        );
        Some(Self { per_second: per_second?, trusted_proxies: trusted_proxies? })
    }
}

type Limiter = RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>;

pub struct RateLimit {
    limiter: Limiter,
    clock: DefaultClock,
    policy: HeaderValue,
    per_second: NonZeroU32,
    trusted_proxies: TrustedProxies,
}

impl RateLimit {
    /// The limit, if there is to be one.
    pub fn new(config: &RateLimitConfig) -> Option<Self> {
        let per_second = config.per_second?;
        let limiter = RateLimiter::keyed(Quota::per_second(per_second)).with_middleware();
        let policy = HeaderValue::try_from(format!("\"client\";q={per_second};w=1")).expect("is ASCII");
        let trusted_proxies = config.trusted_proxies.clone();
        Some(Self { limiter, clock: DefaultClock::default(), policy, per_second, trusted_proxies })
    }

    /// Counts a request, and returns what its client is told of the limit; a problem if it has been reached.
    pub fn check(
        &self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<[(HeaderName, HeaderValue); 2], Problem> {
        let Some(peer) = peer else {
            // Only a connection without an address, which there is none of.
            return Ok(self.headers(self.per_second.get(), 0));
        };
        match self.limiter.check_key(&client(self.trusted_proxies.client_ip(peer, headers))) {
            Ok(state) => Ok(self.headers(state.remaining_burst_capacity(), 1)),
            Err(map_foreign_key) => {
                let wait = whole_seconds(map_foreign_key.wait_time_from(self.clock.now())).max(1);
                let detail = format!("A client may make {} requests a second here.", self.per_second);
                let problem =
                    Problem::new(ProblemCode::TooManyRequests, detail).with_header(RETRY_AFTER, wait.into());
                Err(self
                    .headers(0, wait)
                    .into_iter()
                    .fold(problem, |problem, (name, value)| problem.with_header(name, value)))
            }
        }
    }

    /// Forgets clients that have been away for so long that nothing counts against them any more.
    pub async fn evict_idle(&self, stop: CancellationToken) {
        let mut ticks = interval(FORGET_EVERY);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }

    /// `remaining` requests may follow at once; in `reset` seconds there are more.
    fn headers(&self, remaining: u32, reset: u64) -> [(HeaderName, HeaderValue); 2] {
        let state = HeaderValue::try_from(format!("\"client\";r={remaining};t={reset}")).expect("is ASCII");
        [(RATE_LIMIT_POLICY, self.policy.clone()), (RATE_LIMIT, state)]
    }
}

impl TrustedProxies {
    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Where a request came from. Each proxy adds the address that it was asked by at the end of the header, so it is
    /// read from there, for as long as it is written by somebody trusted; what stands before that anybody can make up.
    fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client_ip = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).into_iter();
        // As bytes, so that nothing is passed over: what cannot be read ends the search.
        let mut forwarded: Vec<&[u8]> =
            lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect();
        while self.trusts(client_ip) {
            match forwarded.pop().and_then(address) {
                Some(before) => client_ip = before.to_canonical(),
                None => break,
            }
        }
        client_ip
    }
}

/// An address as proxies write it: some add the port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

/// What is counted as one client.
fn client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_ip(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let value = |line: &&str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
        let headers = forwarded.iter().map(|line| (FORWARDED_FOR, value(line))).collect();
        let proxies = TrustedProxies::parse(proxies).unwrap();
        proxies.client_ip(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_what_a_trusted_proxy_has_written_is_believed() {
        let ours = "10.0.0.0/8, 192.168.1.7";
        assert_eq!(client_ip(ours, "203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client_ip(ours, "10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        // Made up by the client, before the first proxy wrote the truth behind it.
        assert_eq!(client_ip(ours, "10.1.2.3", &["8.8.8.8, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client_ip(ours, "10.1.2.3", &["8.8.8.8", "198.51.100.1, 192.168.1.7"]), "198.51.100.1");
        assert_eq!(client_ip(ours, "::ffff:10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client_ip(ours, "10.1.2.3", &["198.51.100.1:5123"]), "198.51.100.1");
        assert_eq!(client_ip(ours, "10.1.2.3", &["[2001:db8::1]:443"]), "2001:db8::1");
        // A line that is no text hides nothing: what stands before it is not looked at.
        assert_eq!(client_ip(ours, "10.1.2.3", &["8.8.8.8", "é, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client_ip(ours, "10.1.2.3", &["8.8.8.8", "198.51.100.1, é"]), "10.1.2.3");
        // A proxy that says nothing of use is itself the client.
        assert_eq!(client_ip(ours, "10.1.2.3", &["unknown"]), "10.1.2.3");
        assert_eq!(client_ip(ours, "10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn an_ipv6_client_cannot_hide_in_its_own_network() {
        let client = |address: &str| client(address.parse().unwrap());
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::9"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_ne!(client("198.51.100.1"), client("198.51.100.2"));
    }

    #[test]
    fn a_client_beyond_its_limit_is_refused_and_no_other() {
        let limit = RateLimit::new(&RateLimitConfig {
            per_second: NonZeroU32::new(3),
            trusted_proxies: TrustedProxies::default(),
        })
        .unwrap();
        let check = |peer: &str| limit.check(peer.parse().ok(), &HeaderMap::new());
        assert_eq!(check("198.51.100.1").unwrap()[1].1, "\"client\";r=2;t=1");
        // Requests come to be allowed again while they are counted, but never this many.
        assert!((0..1_000).any(|_| check("198.51.100.1").is_err()));
        assert!(check("198.51.100.2").is_ok());
    }
}
