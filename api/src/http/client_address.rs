//! The address under which a client is counted.
//!
//! A client is an IPv4 address or an IPv6 /64 network, which is what a provider assigns to one customer. Behind a
//! proxy, all requests come from the proxy's address. `TRUSTED_PROXIES` lists the proxies whose `X-Forwarded-For` is
//! trusted.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName};
use hamro_shared::config::{Env, Setting};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of the proxies whose `X-Forwarded-For` is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[IpNet]>);

/// The key under which a client is counted: its IPv4 address, or the /64 network of its IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

/// The client that sent a request. `None` without a connection, as in unit tests.
#[derive(Clone, Copy, Debug)]
pub struct Client(pub Option<ClientAddress>);

impl Setting for TrustedProxies {
    fn parse(text: &str) -> Option<Self> {
        let network = |text: &str| {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
        };
        text.split(',').map(network).collect::<Option<_>>().map(Self)
    }
}

impl TrustedProxies {
    pub fn read(env: &mut Env) -> Option<Self> {
        let proxies = env
            .variable(
                "TRUSTED_PROXIES",
                "Proxies whose X-Forwarded-For is trusted; none by default.",
                "comma-separated addresses or networks such as 10.0.0.0/8",
            )
            .optional::<Self>();
        Some(proxies?.unwrap_or_default())
    }

    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address.to_canonical()))
    }

    /// Returns the address of the client behind trusted proxies. Each proxy appends the address of its own peer to
    /// `X-Forwarded-For`, so the header is read from the end, as long as a trusted proxy wrote the entry. Clients can
    /// forge everything before that.
    pub fn client_ip(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client_ip = peer.to_canonical();
        if !self.trusts(client_ip) {
            return client_ip;
        }
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

    /// The client that sent a request with these extensions and headers.
    pub fn client(&self, extensions: &Extensions, headers: &HeaderMap) -> Client {
        let peer: Option<&ConnectInfo<SocketAddr>> = extensions.get();
        Client(peer.map(|ConnectInfo(peer)| ClientAddress::of(self.client_ip(peer.ip(), headers))))
    }
}

/// Parses an address as written by proxies. Some append the port.
fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

impl ClientAddress {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
            address @ IpAddr::V4(_) => Self(address),
        }
    }

    pub fn ip(self) -> IpAddr {
        self.0
    }
}

impl<S> FromRequestParts<S> for Client
where
    S: Send + Sync,
    TrustedProxies: FromRef<S>,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        Ok(TrustedProxies::from_ref(state).client(&parts.extensions, &parts.headers))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

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
        let key = |address: &str| ClientAddress::of(address.parse().unwrap());
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("198.51.100.1"), key("198.51.100.2"));
        assert_eq!(key("::ffff:198.51.100.1"), key("198.51.100.1"));
    }
}
