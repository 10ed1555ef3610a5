//! Server-sent events: what all event streams share.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use rand::RngExt;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::http::bound::{Bound, Held};
use crate::http::client_address::Client;
use crate::http::problem::{Problem, ProblemCode};

/// How often a comment is sent while there are no events. Proxies and browsers close a connection that stays silent.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How many milliseconds a client waits before it reconnects. Random per stream, because all clients of an instance
/// reconnect when it stops.
const RECONNECT_DELAY_MS: RangeInclusive<u64> = 1_000..=4_000;

/// The maximum age of a stream, as a factor. Random per stream, because clients that connected together would otherwise
/// reconnect together.
const AGE_JITTER: RangeInclusive<f64> = 0.9..=1.1;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Limits the number of open event streams and how long each may be open, and ends all of them when the process begins
/// to shut down.
#[derive(Clone)]
pub struct SseLimiter {
    streams: Arc<Bound>,
    max_age: Duration,
    stopping: CancellationToken,
}

/// Permission for one stream, released when the stream ends.
pub struct SsePermit {
    held: Held,
    max_age: Duration,
    stopping: CancellationToken,
}

impl SseLimiter {
    pub fn new(streams: Arc<Bound>, max_age: Duration, stopping: CancellationToken) -> Self {
        Self { streams, max_age, stopping }
    }

    /// The bound of the streams.
    pub fn streams(&self) -> &Arc<Bound> {
        &self.streams
    }

    pub fn acquire(&self, client: Client) -> Result<SsePermit, Problem> {
        let held = self.streams.hold(client, 1);
        let held = held.map_err(|refusal| refusal.problem(ProblemCode::TooManyStreams, "event streams"))?;
        let max_age = self.max_age.mul_f64(rand::rng().random_range(AGE_JITTER));
        Ok(SsePermit { held, max_age, stopping: self.stopping.clone() })
    }
}

impl SsePermit {
    /// A response that sends these events. The stream ends when the process shuts down, or at its maximum age; the
    /// client then reconnects.
    pub fn stream(self, events: impl Stream<Item = Event> + Send + 'static) -> Response {
        let Self { held, max_age, stopping } = self;
        let reconnect_delay = Duration::from_millis(rand::rng().random_range(RECONNECT_DELAY_MS));
        // Yields once, so that a stream that is opened during shutdown still sends its first event, and with it the
        // delay until the client reconnects.
        let expires_at = Instant::now() + max_age;
        let stopped = async move {
            let _ = timeout_at(expires_at, stopping.cancelled_owned()).await;
            yield_now().await;
        };
        let events = events.take_until(stopped).map(move |event| {
            let _held = &held;
            Ok::<_, Infallible>(event.retry(reconnect_delay))
        });
        response(events)
    }
}

/// The response to a `HEAD` request for a stream. It has no events, and needs no permit.
pub fn head_of_stream() -> Response {
    response(stream::empty())
}

fn response(events: impl Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    // Tells proxies not to buffer, cache or compress the events. A proxy that compresses may keep an event until it
    // has enough data. Caddy and nginx leave a response alone that has an encoding, even `identity`; others follow
    // `no-transform` (RFC 9111, section 5.2.2.6).
    let unbuffered = [
        (CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (CONTENT_ENCODING, HeaderValue::from_static("identity")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL).text("keep-alive");
    (unbuffered, Sse::new(events).keep_alive(keep_alive)).into_response()
}

/// The id of the last event that the client received before its stream was interrupted.
pub fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()
}
