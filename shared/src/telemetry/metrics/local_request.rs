//! Which requests for metrics need no token: those that a program on this machine has sent.
//!
//! Sales figures are nobody else's business, so the doubt is against the request. The peer of the socket decides, whatever
//! `X-Forwarded-For` says. A proxy on the same machine has a local address too. Its requests are recognised by the headers
//! that proxies add, and by the host that its client asked for. A browser on this machine also sends requests for the pages
//! of others; they carry `Origin` or another site's host.

use std::net::IpAddr;

use hyper::header::{FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{HeaderMap, Uri, Version};

/// Headers that only proxies and browsers add.
const OF_OTHERS: [HeaderName; 7] = [
    FORWARDED,
    ORIGIN,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// Whether a program on this machine has sent the request, and no proxy has passed it on.
pub fn is_local_request(peer: IpAddr, request: &Parts) -> bool {
    peer.to_canonical().is_loopback()
        // Without further settings, nginx adds no header and replaces the host, but sends HTTP/1.0.
        && request.version > Version::HTTP_10
        && !OF_OTHERS.iter().any(|name| request.headers.contains_key(name))
        && is_for_this_machine(&request.uri, &request.headers)
}

/// Whether the request names this machine, or no host at all.
fn is_for_this_machine(uri: &Uri, headers: &HeaderMap) -> bool {
    if let Some(authority) = uri.authority() {
        return is_local_name(authority.host());
    }
    let Some(host) = headers.get(HOST) else { return true };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| is_local_name(authority.host()))
}

fn is_local_name(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|it| it.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn is_local(peer: &str, uri: &str, headers: &[(&'static str, &str)]) -> bool {
        is_local_with(Version::HTTP_11, peer, uri, headers)
    }

    fn is_local_with(version: Version, peer: &str, uri: &str, headers: &[(&'static str, &str)]) -> bool {
        let mut request = Request::get(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        is_local_request(peer.parse().unwrap(), &request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_request_is_local_by_its_peer() {
        for peer in ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"] {
            assert!(is_local(peer, "/metrics", &[("host", "localhost:3000")]), "{peer}");
        }
        for peer in ["198.51.100.1", "10.0.0.1", "0.0.0.0", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert!(!is_local(peer, "/metrics", &[("host", "localhost:3000")]), "{peer}");
        }
    }

    #[test]
    fn no_header_makes_a_remote_request_local() {
        for name in ["x-forwarded-for", "x-real-ip", "forwarded"] {
            assert!(!is_local("198.51.100.1", "/metrics", &[(name, "127.0.0.1"), ("host", "localhost")]));
        }
    }

    #[test]
    fn a_request_that_a_local_proxy_or_a_page_in_a_browser_causes_is_not_local() {
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-real-ip", "forwarded", "via", "origin"] {
            for value in ["127.0.0.1", "198.51.100.1", ""] {
                assert!(
                    !is_local("127.0.0.1", "/metrics", &[("host", "localhost"), (name, value)]),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_request_for_another_host_is_not_local() {
        for (host, expected) in [
            ("localhost", true),
            ("LOCALHOST:3000", true),
            ("127.0.0.1:3000", true),
            ("[::1]:3000", true),
            ("shop.example.com", false),
            ("localhost.example.com", false),
            ("198.51.100.1", false),
        ] {
            assert_eq!(is_local("127.0.0.1", "/metrics", &[("host", host)]), expected, "{host}");
            let uri = format!("http://{host}/metrics");
            assert_eq!(is_local("127.0.0.1", &uri, &[("host", "localhost")]), expected, "{uri}");
        }
        assert!(!is_local_with(Version::HTTP_10, "127.0.0.1", "/metrics", &[("host", "localhost")]));
        assert!(is_local_with(Version::HTTP_2, "127.0.0.1", "http://localhost/metrics", &[]));
    }
}
