//! How buyers follow their tickets.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use hamro_shared::backoff::Backoff;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use uuid::Uuid;

use crate::contract::{ObservedStatus, Outcome};
use crate::http::RequestError;
use crate::instance::{Instance, StatusObservation};
use crate::run_log::RunLog;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Follow {
    /// The event stream of the ticket
    Sse,
    /// A status request that is held until the ticket is final
    Wait,
    /// Repeated status requests, at the interval of `Retry-After`
    Poll,
}

/// The polling interval without a `Retry-After`.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// How patient a client is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two polls, instead of the interval of `Retry-After`.
    pub poll_every: Option<Duration>,
    /// The first and the longest pause after a failed read.
    pub retry: (Duration, Duration),
    /// How long the server may hold a request, in seconds.
    pub hold_seconds: u64,
    /// How long one read may take, including all events of a stream.
    pub read_timeout: Duration,
}

impl Default for Pace {
    /// A client that follows the documentation.
    fn default() -> Self {
        Self {
            poll_every: None,
            retry: (Duration::from_millis(100), Duration::from_secs(2)),
            hold_seconds: 20,
            read_timeout: Duration::MAX,
        }
    }
}

/// The result of one read.
struct Read {
    status: ObservedStatus,
    retry_after: Option<Duration>,
}

impl Follow {
    /// Follows the ticket until it is final, however often a connection breaks. Records every status in the run log.
    /// Each read is sent to the instance that `choose` returns. Returns the outcome and the instance that reported it.
    /// `on_failure` is called after a read without a status.
    pub async fn until_final(
        self,
        pace: &Pace,
        choose: impl Fn() -> Instance,
        on_failure: impl Fn(),
        run_log: &RunLog,
        ticket: Uuid,
    ) -> (Outcome, Instance) {
        let mut backoff = Backoff::new(pace.retry.0, pace.retry.1);
        loop {
            let (started, instance) = (Instant::now(), choose());
            let reading = timeout(pace.read_timeout, self.read(pace, &instance, run_log, ticket));
            match reading.await.unwrap_or(Err(RequestError::TimedOut)) {
                Ok(Read { status: ObservedStatus::Final(outcome), .. }) => return (outcome, instance),
                // The server held the request until its time was up, so read again at once. Some servers do not hold it.
                Ok(Read { status: ObservedStatus::Queued, .. }) if started.elapsed() > POLL_EVERY => {}
                Ok(Read { status: ObservedStatus::Queued, retry_after }) => {
                    pause(pace.poll_every.or(retry_after).unwrap_or(POLL_EVERY)).await;
                }
                // An unknown ticket may become known again. The final verification decides.
                Ok(Read { status: ObservedStatus::Unknown | ObservedStatus::Unavailable, .. }) | Err(_) => {
                    on_failure();
                    backoff.pause().await;
                }
            }
        }
    }

    /// Reads the status once, and records it.
    async fn read(
        self,
        pace: &Pace,
        instance: &Instance,
        run_log: &RunLog,
        ticket: Uuid,
    ) -> Result<Read, RequestError> {
        let query = match self {
            Self::Sse => return read_stream(instance, run_log, ticket).await,
            Self::Wait => format!("?wait={}", pace.hold_seconds),
            Self::Poll => String::new(),
        };
        let StatusObservation { status, read, retry_after } =
            instance.read_status(run_log, ticket, &query).await?;
        run_log.record_status(ticket, &status, read);
        Ok(Read { status, retry_after })
    }
}

#[expect(clippy::disallowed_methods, reason = "a client waits between polls")]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Reads the stream to its end. It may end before the final event if its instance stops.
async fn read_stream(instance: &Instance, run_log: &RunLog, ticket: Uuid) -> Result<Read, RequestError> {
    let sent = Instant::now();
    let mut stream = instance.client.events(&format!("/ticket-bookings/{ticket}/events")).await?;
    if stream.status() != 200 {
        return Ok(Read { status: ObservedStatus::Unavailable, retry_after: None });
    }
    let (mut status, mut before) = (ObservedStatus::Unavailable, None);
    // Read to the end, to reuse the connection and to detect an event after the final one.
    while let Some(event) = stream.next().await? {
        let received = Instant::now();
        let reported = ObservedStatus::of_document(event.data.as_bytes());
        let read = match before {
            None => run_log.status_read(instance.number, sent, received),
            Some(before) => run_log.next_event(before, received),
        };
        run_log.record_status(ticket, &reported, read);
        before = Some(read);
        if !matches!(status, ObservedStatus::Final(_)) {
            status = reported;
        }
    }
    Ok(Read { status, retry_after: None })
}
