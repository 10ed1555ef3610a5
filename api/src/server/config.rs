//! The settings of the HTTP server.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::HeaderValue;
use hamro_shared::config::shared_settings::read_host;
use hamro_shared::config::{Env, Setting};

use super::rate_limit::RateLimitConfig;
use crate::http::extract::BodyTimeout;

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
    pub body_timeout: BodyTimeout,
    /// Whether to serve the interactive documentation.
    pub has_docs: bool,
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
        let cors_origin = env
            .variable(
                "CORS_ORIGIN",
                "Origins whose pages may use the api.",
                "*, or comma-separated origins such as https://shop.example.com",
            )
            .or_default("*");
        let rate_limit = RateLimitConfig::read(env);
        // About 250 MB of detached streams (`make bench-intake ARGS=streams`).
        let streams_max = env
            .variable(
                "STREAMS_MAX",
                "Maximum number of open event streams. Each takes about 5 KB of memory.",
                "a number such as 50000",
            )
            .or_default("50000");
        let event_streams = env
            .variable(
                "EVENT_STREAMS",
                "What writes event streams on HTTP/1.1: the api itself, or hyper with 23 KB per stream (decision 6).",
                "detached or hyper",
            )
            .or_default("detached");
        // Longer than load balancers keep idle connections, so that they close them and the api does not.
        let head_timeout = env
            .variable(
                "HEAD_TIMEOUT",
                "How long a client may take to send the head of a request, or leave a connection idle.",
                "a duration such as 75s",
            )
            .or_default("75s");
        if head_timeout == Some(Duration::ZERO) {
            env.record_error("HEAD_TIMEOUT is zero: it should be a duration such as 75s");
        }
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
            cors_origin: cors_origin?,
            rate_limit: rate_limit?,
            streams_max: streams_max?,
            event_streams: event_streams?,
            head_timeout: head_timeout?,
            body_timeout: body_timeout?,
            has_docs: has_docs?,
        })
    }
}
