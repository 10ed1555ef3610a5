//! The host that a request is for (RFC 9112, section 3.2; RFC 9113, section 8.3.1). This server has only one, so every
//! valid host is accepted. A request whose host is missing, ambiguous or malformed is refused, because a proxy in front
//! may understand it differently.

use std::net::Ipv6Addr;

use axum::http::header::HOST;
use axum::http::uri::Scheme;
use axum::http::{HeaderMap, Uri, Version};

/// Says what is wrong with the host of a request. The host of an absolute URI takes precedence over `Host`, which must
/// be valid nevertheless.
pub fn check(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() {
        return Err("The request has more than one Host header. Send one.");
    }
    if host.is_some_and(|host| !is_host_and_port(host.as_bytes())) {
        return Err("The Host header must be the name or IP address of a host, with an optional port.");
    }
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    if authority.is_some_and(|authority| !is_host_and_port(authority)) {
        return Err("The URI must have the name or IP address of a host, with an optional port and no user.");
    }
    if uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err("The scheme of the URI must be http or https.");
    }
    match (host, authority) {
        (None, _) if version == Version::HTTP_11 => Err("The request has no Host header. Send one."),
        (None, None) if version >= Version::HTTP_2 => Err("The request has no :authority. Send one."),
        (Some(host), Some(authority))
            if version >= Version::HTTP_2 && !host.as_bytes().eq_ignore_ascii_case(authority) =>
        {
            Err("The Host header and :authority must be the same.")
        }
        _ => Ok(()),
    }
}

/// `uri-host [ ":" port ]` (RFC 3986, section 3.2). A host of an HTTP URI is not empty (RFC 9110, section 4.2.1).
fn is_host_and_port(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let (is_valid_host, port) = match text.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((address, port)) => (is_ip_literal(address), port),
            None => return false,
        },
        None => {
            let host = text.split(':').next().unwrap_or_default();
            (is_name(host), &text[host.len()..])
        }
    };
    is_valid_host && is_port(port)
}

/// What may follow the host. A port may be empty.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
        None => text.is_empty(),
    }
}

/// An IPv6 address, or an address of a later version: `v1.fe80`.
fn is_ip_literal(text: &str) -> bool {
    let is_future = |rest: &str| {
        rest.split_once('.').is_some_and(|(version, address)| {
            let is_hexadecimal = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_hexdigit());
            let is_address_byte = |byte: u8| is_name_byte(byte) || byte == b':';
            is_hexadecimal && !address.is_empty() && address.bytes().all(is_address_byte)
        })
    };
    text.strip_prefix(['v', 'V']).map_or_else(|| text.parse::<Ipv6Addr>().is_ok(), is_future)
}

/// A registered name or an IPv4 address: unreserved characters, sub-delimiters and percent-encoded bytes.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_valid = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|byte| byte.is_ascii_hexdigit())),
            byte => is_name_byte(byte),
        };
        if !is_valid {
            return false;
        }
    }
    !text.is_empty()
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const VALID: [&str; 14] = [
        "x",
        "shop.example.com",
        "shop.example.com.:443",
        "SHOP_1:3000",
        "127.0.0.1:3000",
        "localhost:",
        "[::1]",
        "[::1]:3000",
        "[2001:db8::7]:65535",
        "[::ffff:192.0.2.1]",
        "[v1.fe80::a+en1]",
        "a%20b",
        "!$&'()*+,;=~",
        "xn--exmple-cua.de",
    ];
    const INVALID: [&[u8]; 26] = [
        b"",
        b":3000",
        b"a b",
        b"a\tb",
        b"a/b",
        b"a@b",
        b"user:password@host",
        b"a b/@",
        b"http://host",
        b"a?b",
        b"a#b",
        b"a\\b",
        b"a%2",
        b"a%zz",
        b"a:b",
        b"a:-1",
        b"a:65536",
        b"a:1:2",
        b"::1",
        b"[::1",
        b"[::1]3000",
        b"[127.0.0.1]",
        b"[fe80::1%25eth0]",
        b"[v.a]",
        "ä".as_bytes(),
        b"\xff",
    ];

    fn headers(hosts: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
        }
        headers
    }

    fn is_accepted(version: Version, uri: &str, hosts: &[&[u8]]) -> bool {
        check(version, &uri.parse().unwrap(), &headers(hosts)).is_ok()
    }

    #[test]
    fn a_host_must_match_the_grammar_of_rfc_3986() {
        for version in [Version::HTTP_10, Version::HTTP_11] {
            for host in VALID {
                assert!(is_accepted(version, "/", &[host.as_bytes()]), "{host}");
            }
            for host in INVALID {
                assert!(!is_accepted(version, "/", &[host]), "{host:?}");
            }
        }
    }

    #[test]
    fn each_version_of_http_needs_exactly_one_host() {
        use Version as V;
        for (version, uri, hosts, expected) in [
            (V::HTTP_10, "/", &[][..], true),
            (V::HTTP_10, "/", &[&b"a"[..], b"a"], false),
            (V::HTTP_11, "/", &[], false),
            (V::HTTP_11, "*", &[], false),
            (V::HTTP_11, "*", &[b"a"], true),
            (V::HTTP_11, "/", &[b"a", b"a"], false),
            (V::HTTP_11, "/", &[b"a", b"b"], false),
            (V::HTTP_11, "http://a/", &[], false),
            (V::HTTP_2, "/", &[], false),
            (V::HTTP_2, "/", &[b"a"], true),
            (V::HTTP_2, "http://a/", &[], true),
            (V::HTTP_2, "http://a/", &[b"A"], true),
            (V::HTTP_2, "http://a/", &[b"b"], false),
            (V::HTTP_2, "http://a/", &[b"a", b"a"], false),
        ] {
            assert_eq!(is_accepted(version, uri, hosts), expected, "{version:?} {uri} {hosts:?}");
        }
    }

    #[test]
    fn the_host_of_an_absolute_uri_takes_precedence_over_host() {
        for (uri, host, expected) in [
            ("http://a/concerts", "a", true),
            ("http://a:80/concerts", "b", true),
            ("https://[::1]:3000/concerts", "b", true),
            ("http://user@a/concerts", "a", false),
            ("http://a/concerts", "b/c", false),
            ("ftp://a/concerts", "a", false),
        ] {
            assert_eq!(is_accepted(Version::HTTP_11, uri, &[host.as_bytes()]), expected, "{uri} {host}");
        }
    }
}
