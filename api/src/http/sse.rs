//! Server-sent events: what all streams have in common.

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt};
use rand::RngExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::http::problem::{Problem, ProblemCode};

/// Proxies and browsers give up on a connection that is silent for long.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// Within how many milliseconds a client connects again after a stream has broken off. Drawn anew for each stream: when an
/// instance stops, all of its clients go elsewhere.
const RECONNECT_AFTER: RangeInclusive<u64> = 1_000..=4_000;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The event streams of this instance: no more than so many at a time, and none once the process is stopping.
#[derive(Clone)]
pub struct SseLimiter {
    permits: Arc<Semaphore>,
    stopping: CancellationToken,
}

/// A place for one stream, free again when the stream ends.
pub struct SsePermit {
    permit: OwnedSemaphorePermit,
    stopping: CancellationToken,
}

impl SseLimiter {
    pub fn new(max: u32, stopping: CancellationToken) -> Self {
        Self { permits: Arc::new(Semaphore::new(max as usize)), stopping }
    }

    pub fn acquire(&self) -> Result<SsePermit, Problem> {
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| {
            Problem::new(ProblemCode::TooManyStreams, "Ask for the status instead, or try again in a moment.")
                .retry_after(5)
        })?;
        Ok(SsePermit { permit, stopping: self.stopping.clone() })
    }
}

impl SsePermit {
    /// Sends these events, and a comment whenever there has been none for a while. When the process stops the stream ends:
    /// the client connects again, to another instance.
    pub fn stream(self, events: impl Stream<Item = Event> + Send + 'static) -> Response {
        let Self { permit, stopping } = self;
        let reconnect_after = Duration::from_millis(rand::rng().random_range(RECONNECT_AFTER));
        let events = events.take_until(stopping.cancelled_owned()).map(move |event| {
            let _held = &permit;
            Ok::<_, Infallible>(event.retry(reconnect_after))
        });
        // Beside the content type, what proxies need in order not to hold events back.
        let unbuffered = [
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        ];
        let keep_alive = KeepAlive::new().interval(COMMENT_EVERY).text("still here");
        (unbuffered, Sse::new(events).keep_alive(keep_alive)).into_response()
    }
}

/// The id of the last event that a client has received before its stream broke off.
pub fn last_event_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()
}
