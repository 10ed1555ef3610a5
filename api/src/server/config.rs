//! The settings of the HTTP server.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::{HeaderValue, Uri};
use hamro_shared::config::shared_settings::read_host;
use hamro_shared::config::{Env, Setting};

use super::activity::ConnectionTimeouts;
use super::connection::ConnectionConfig;
use super::rate_limit::RateLimitConfig;
use crate::http::bound::ClientShare;
use crate::http::extract::BodyTimeout;

#[derive(Clone, Debug)]
pub struct HttpConfig {
    pub address: SocketAddr,
    pub public_url: Option<PublicUrl>,
    pub cors_origin: CorsOrigin,
    pub rate_limit: RateLimitConfig,
    /// The maximum number of open connections. `None`: what the limit on open files allows.
    pub connections_max: Option<NonZeroU32>,
    /// The maximum number of open event streams.
    pub streams_max: NonZeroU32,
    /// How long an event stream may be open.
    pub stream_max_age: Duration,
    /// The maximum number of responses that are held until an outcome is known.
    pub waits_max: NonZeroU32,
    pub event_streams: EventStreamMode,
    pub connection: ConnectionConfig,
    pub body_timeout: BodyTimeout,
    /// Whether to serve the interactive documentation.
    pub has_docs: bool,
    /// The share of one client of all that clients can hold.
    pub client_share: ClientShare,
    /// The maximum number of bytes of large responses in memory.
    pub response_bytes_max: NonZeroU32,
}

/// Where clients reach the api, without a slash at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for PublicUrl {
    fn parse(text: &str) -> Option<Self> {
        let url: Uri = text.parse().ok()?;
        let is_web = matches!(url.scheme_str(), Some("http" | "https"));
        let has_user = url.authority()?.as_str().contains('@');
        let is_plain = url.query().is_none() && !text.contains('#');
        (is_web && !has_user && is_plain).then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

/// The origins whose pages may use the api. Any origin is safe, because the api does not use cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    Any,
    These(Vec<HeaderValue>),
}

impl Setting for CorsOrigin {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let origin = |origin: &str| {
            let origin = origin.trim();
            let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))?;
            (!rest.is_empty() && !rest.contains('/')).then(|| HeaderValue::from_str(origin).ok()).flatten()
        };
        text.split(',').map(origin).collect::<Option<Vec<_>>>().map(Self::These)
    }
}

/// Who writes event streams to an HTTP/1.1 connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventStreamMode {
    /// The module `detached_streams`. A stream takes about 5 KB.
    Detached,
    /// hyper, like every other response. A stream takes about 23 KB.
    Hyper,
}

impl Setting for EventStreamMode {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "detached" => Some(Self::Detached),
            "hyper" => Some(Self::Hyper),
            _ => None,
        }
    }
}

impl HttpConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let host = read_host(env);
        let port = env
            .variable("PORT", "Port to listen on; 0 selects a free port.", "a TCP port such as 3000")
            .or_default("3000");
        let public_url = env
            .variable(
                "PUBLIC_URL",
                "Where clients reach the api, for the OpenAPI document. Needed if a proxy serves it below a path.",
                "a URL such as https://www.example.com/tickets",
            )
            .optional();
        let cors_origin = env
            .variable(
                "CORS_ORIGIN",
                "Origins whose pages may use the api.",
                "*, or comma-separated origins such as https://shop.example.com",
            )
            .or_default("*");
        let rate_limit = RateLimitConfig::read(env);
        let connections_max = env
            .variable(
                "CONNECTIONS_MAX",
                "Maximum number of open connections; 200 less than the limit on open files by default, and at most.",
                "a number such as 20000",
            )
            .optional();
        // About 250 MB of detached streams (`make bench-intake ARGS=streams`).
        let streams_max = env
            .variable(
                "STREAMS_MAX",
                "Maximum number of open event streams. Each takes about 5 KB of memory.",
                "a number such as 50000",
            )
            .or_default("50000");
        let stream_max_age = read_timeout(
            env,
            "STREAM_MAX_AGE",
            "How long an event stream may be open, give or take a tenth. Its client then reconnects.",
            "1h",
        );
        let waits_max = env
            .variable(
                "WAITS_MAX",
                "Maximum number of responses that are held until an outcome is known. Others are sent without a wait.",
                "a number such as 20000",
            )
            .or_default("20000");
        let event_streams = env
            .variable(
                "EVENT_STREAMS",
                "What writes event streams on HTTP/1.1: the api itself, or hyper with 23 KB per stream (decision 6).",
                "detached or hyper",
            )
            .or_default("detached");
        let connection = read_connection(env);
        let client_share = ClientShare::read(env);
        let response_bytes_max = env
            .variable(
                "RESPONSE_BYTES_MAX",
                "Maximum number of bytes of large responses that are in memory, because clients have not read them yet.",
                "a number such as 268435456",
            )
            .or_default("268435456");
        let body_timeout = BodyTimeout::read(env);
        let has_docs = env
            .variable(
                "DOCS",
                "Whether to serve the interactive documentation at /docs. /openapi.json is always served.",
                "true or false",
            )
            .or_default("true");
        Some(Self {
            address: SocketAddr::new(host?, port?),
            public_url: public_url?,
            cors_origin: cors_origin?,
            rate_limit: rate_limit?,
            connections_max: connections_max?,
            streams_max: streams_max?,
            stream_max_age: stream_max_age?,
            waits_max: waits_max?,
            event_streams: event_streams?,
            connection: connection?,
            body_timeout: body_timeout?,
            has_docs: has_docs?,
            client_share: client_share?,
            response_bytes_max: response_bytes_max?,
        })
    }
}

/// Reads what one connection may take.
fn read_connection(env: &mut Env) -> Option<ConnectionConfig> {
    // Longer than load balancers keep idle connections, so that they close them and the api does not.
    let idle = read_timeout(
        env,
        "HEAD_TIMEOUT",
        "How long a client may leave a connection idle. A head that it has begun must be complete within 10s at most.",
        "75s",
    );
    let write = read_timeout(
        env,
        "WRITE_TIMEOUT",
        "How long a client may read nothing of a response. It must also read 4 KB per second on average.",
        "30s",
    );
    let http2_streams_max = env
        .variable(
            "HTTP2_STREAMS_MAX",
            "Maximum number of open streams of one HTTP/2 connection.",
            "a number such as 100",
        )
        .or_default("100");
    Some(ConnectionConfig {
        timeouts: ConnectionTimeouts { idle: idle?, write: write? },
        http2_streams_max: http2_streams_max?,
    })
}

/// Reads a duration that must not be zero.
fn read_timeout(
    env: &mut Env,
    name: &'static str,
    meaning: &'static str,
    default: &'static str,
) -> Option<Duration> {
    let expected = format!("a duration such as {default}");
    let timeout = env.variable(name, meaning, expected.clone()).or_default(default);
    if timeout == Some(Duration::ZERO) {
        env.record_error(format!("{name} is zero: it should be {expected}"));
    }
    timeout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_has_a_scheme_and_a_host_and_may_have_a_path() {
        let parsed = |text: &str| PublicUrl::parse(text).map(|url| url.0);
        for (text, url) in [
            ("https://tickets.example.com", "https://tickets.example.com"),
            ("https://www.example.com/tickets/", "https://www.example.com/tickets"),
            ("http://127.0.0.1:8080/a/b", "http://127.0.0.1:8080/a/b"),
        ] {
            assert_eq!(parsed(text).as_deref(), Some(url));
        }
        for text in [
            "",
            "/tickets",
            "tickets.example.com",
            "ftp://tickets.example.com",
            "https://user:password@tickets.example.com",
            "https://tickets.example.com?a=b",
            "https://tickets.example.com/#a",
            "https://tickets example.com",
        ] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }
}
