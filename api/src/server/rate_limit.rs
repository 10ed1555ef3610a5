//! Limits the requests per second of each client. Off unless `RATE_LIMIT_PER_SECOND` is set.
//!
//! A client is an IPv4 address or an IPv6 /64 network, which is what a provider assigns to one customer. Behind a
//! proxy, all requests come from the proxy's address. `TRUSTED_PROXIES` lists the proxies whose `X-Forwarded-For` is
//! trusted.
//!
//! Each instance counts separately. The headers follow draft-ietf-httpapi-ratelimit-headers-10.

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

use crate::http::problem::Problem;
use crate::http::retry_after::whole_seconds;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
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

/// The networks of the proxies whose `X-Forwarded-For` is trusted.
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
        let per_second = env
            .variable(
                "RATE_LIMIT_PER_SECOND",
                "Requests per second from one client to this instance. An IPv6 client is a /64 network.",
                "a number such as 20",
            )
            .optional();
        let trusted_proxies = env
            .variable(
                "TRUSTED_PROXIES",
                "Proxies whose X-Forwarded-For is trusted; none by default.",
                "comma-separated addresses or networks such as 10.0.0.0/8",
            )
            .optional::<TrustedProxies>();
        Some(Self { per_second: per_second?, trusted_proxies: trusted_proxies?.unwrap_or_default() })
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
        match self.limiter.check_key(&self.trusted_proxies.client(peer, headers)) {
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

impl TrustedProxies {
    /// The key under which the sender of a request is counted.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        client_key(self.client_ip(peer, headers))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns the address of the client behind trusted proxies. Each proxy appends the address of its own peer to
    /// `X-Forwarded-For`, so the header is read from the end, as long as a trusted proxy wrote the entry. Clients can
    /// forge everything before that.
    fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client_ip = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).into_iter();
        // Bytes, because an entry that is not text must end the search instead of being skipped.
        let mut forwarded: Vec<&[u8]> =
            lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect();
        while self.trusts(client_ip) {
            match forwarded.pop().and_then(parse_address) {
                Some(address) => client_ip = address.to_canonical(),
                None => break,
            }
        }
        client_ip
    }
}

/// Parses an address as written by proxies. Some append the port.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

/// Returns the key under which a client is counted: its IPv4 address, or the /64 network of its IPv6 address.
fn client_key(address: IpAddr) -> IpAddr {
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
    fn only_entries_written_by_trusted_proxies_are_trusted() {
        let trusted = "10.0.0.0/8, 192.168.1.7";
        assert_eq!(client_ip(trusted, "203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client_ip(trusted, "10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        // The client forged the first entry. The proxy appended the real address.
        assert_eq!(client_ip(trusted, "10.1.2.3", &["8.8.8.8, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client_ip(trusted, "10.1.2.3", &["8.8.8.8", "198.51.100.1, 192.168.1.7"]), "198.51.100.1");
        assert_eq!(client_ip(trusted, "::ffff:10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client_ip(trusted, "10.1.2.3", &["198.51.100.1:5123"]), "198.51.100.1");
        assert_eq!(client_ip(trusted, "10.1.2.3", &["[2001:db8::1]:443"]), "2001:db8::1");
        // An entry that is not ASCII ends the search. Entries before it are ignored.
        assert_eq!(client_ip(trusted, "10.1.2.3", &["8.8.8.8", "é, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(client_ip(trusted, "10.1.2.3", &["8.8.8.8", "198.51.100.1, é"]), "10.1.2.3");
        // Without a valid entry, the proxy itself is the client.
        assert_eq!(client_ip(trusted, "10.1.2.3", &["unknown"]), "10.1.2.3");
        assert_eq!(client_ip(trusted, "10.1.2.3", &[]), "10.1.2.3");
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one_client() {
        let key = |address: &str| client_key(address.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("198.51.100.1"), key("198.51.100.2"));
    }

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
