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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use crate::http::problem::{Problem, ProblemCode};

/// How often a comment is sent while there are no events. Proxies and browsers close a connection that stays silent.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// How many milliseconds a client waits before it reconnects. Random per stream, because all clients of an instance
/// reconnect when it stops.
const RECONNECT_DELAY_MS: RangeInclusive<u64> = 1_000..=4_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Limits the number of open event streams, and ends all of them when the process begins to shut down.
#[derive(Clone)]
pub struct SseLimiter {
    permits: Arc<Semaphore>,
    stopping: CancellationToken,
}

/// Permission for one stream, released when the stream ends.
pub struct SsePermit {
    permit: OwnedSemaphorePermit,
    stopping: CancellationToken,
}

impl SseLimiter {
    pub fn new(max: u32, stopping: CancellationToken) -> Self {
        Self { permits: Arc::new(Semaphore::new(max as usize)), stopping }
    }

    pub fn acquire(&self) -> Result<SsePermit, Problem> {
        let permit = self
            .permits
            .clone()
            .try_acquire_owned()
            .map_err(|_| Problem::of(ProblemCode::TooManyStreams).retry_after(5))?;
        Ok(SsePermit { permit, stopping: self.stopping.clone() })
    }
}

impl SsePermit {
    /// A response that sends these events. The stream ends when the process shuts down; the client then reconnects to
    /// another instance.
    pub fn stream(self, events: impl Stream<Item = Event> + Send + 'static) -> Response {
        let Self { permit, stopping } = self;
        let reconnect_delay = Duration::from_millis(rand::rng().random_range(RECONNECT_DELAY_MS));
        // Yields once, so that a stream that is opened during shutdown still sends its first event, and with it the
        // delay until the client reconnects.
        let stopped = async move {
            stopping.cancelled_owned().await;
            yield_now().await;
        };
        let events = events.take_until(stopped).map(move |event| {
            let _permit = &permit;
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
