//! The settings of the HTTP server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::http::HeaderValue;
use hamro_shared::config::{Env, Setting};

use super::rate_limit::RateLimitConfig;

#[derive(Clone, Debug)]
pub struct HttpConfig {
    pub address: SocketAddr,
    pub cors_origin: CorsOrigin,
    pub rate_limit: RateLimitConfig,
    /// The maximum number of open event streams.
    pub streams_max: u32,
    pub event_streams: EventStreamMode,
    /// How long a client may take to send the head of a request, or leave a connection idle.
    pub head_timeout: Duration,
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

/// About 250 MB of detached streams (`make bench-intake ARGS=streams`).
const STREAMS_MAX: u32 = 50_000;

impl HttpConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let host = env.or_default(
            "HOST",
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            "an address to listen on, such as 127.0.0.1 or ::",
        );
        let port = env.or_default("PORT", 3000, "a TCP port such as 3000");
        let cors_origin = env.or_default(
            "CORS_ORIGIN",
            CorsOrigin::Any,
            "*, or origins such as https://shop.example.com, separated by commas",
        );
        let rate_limit = RateLimitConfig::read(env);
        let streams_max =
            env.or_default("STREAMS_MAX", STREAMS_MAX, "a number of event streams such as 50000");
        let event_streams = env.or_default("EVENT_STREAMS", EventStreamMode::Detached, "detached or hyper");
        // Longer than load balancers keep idle connections, so that they close them and the api does not.
        let head_timeout = env.or_default("HEAD_TIMEOUT", Duration::from_secs(75), "a duration such as 75s");
        if head_timeout == Some(Duration::ZERO) {
            env.record_error("HEAD_TIMEOUT is zero: it should be a duration such as 75s");
        }
        Some(Self {
            address: SocketAddr::new(host?, port?),
            cors_origin: cors_origin?,
            rate_limit: rate_limit?,
            streams_max: streams_max?,
            event_streams: event_streams?,
            head_timeout: head_timeout?,
        })
    }
}
