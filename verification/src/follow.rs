//! How buyers follow their tickets.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use hamro_shared::backoff::Backoff;
use serde::{Deserialize, Serialize};
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

impl Follow {
    /// Follows the ticket until it is final, however often a connection breaks. Records every status in the run log.
    pub async fn until_final(self, instance: &Instance, run_log: &RunLog, ticket: Uuid) -> Outcome {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
        loop {
            let asked = Instant::now();
            let told = match self {
                Self::Sse => stream(instance, run_log, ticket).await,
                Self::Wait => ask(instance, run_log, ticket, "?wait=20").await,
                Self::Poll => ask(instance, run_log, ticket, "").await,
            };
            match told {
                Ok((ObservedStatus::Final(outcome), _)) => return outcome,
                // The server held the request until its time was up, so ask again at once. Some servers do not hold it.
                Ok((ObservedStatus::Queued, _)) if asked.elapsed() > POLL_EVERY => {}
                Ok((ObservedStatus::Queued, retry_after)) => pause(retry_after.unwrap_or(POLL_EVERY)).await,
                // An unknown ticket may become known again. The final verification decides.
                Ok((ObservedStatus::Unknown | ObservedStatus::Unavailable, _)) | Err(_) => {
                    backoff.pause().await;
                }
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a client waits between polls")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

async fn ask(
    instance: &Instance,
    run_log: &RunLog,
    ticket: Uuid,
    query: &str,
) -> Result<(ObservedStatus, Option<Duration>), RequestError> {
    let StatusObservation { told, read, retry_after } = instance.ask(run_log, ticket, query).await?;
    run_log.record_status(ticket, &told, read);
    Ok((told, retry_after))
}

/// Reads the stream to its end. It may end before the final event if its instance stops.
async fn stream(
    instance: &Instance,
    run_log: &RunLog,
    ticket: Uuid,
) -> Result<(ObservedStatus, Option<Duration>), RequestError> {
    let sent = Instant::now();
    let mut stream = instance.client.events(&format!("/ticket-bookings/{ticket}/events")).await?;
    if stream.status() != 200 {
        return Ok((ObservedStatus::Unavailable, None));
    }
    let (mut told, mut before) = (ObservedStatus::Unavailable, None);
    // Read to the end, to reuse the connection and to detect an event after the final one.
    while let Some(event) = stream.next().await? {
        let received = Instant::now();
        let status = ObservedStatus::of_document(event.data.as_bytes());
        let read = match before {
            None => run_log.status_read(instance.number, sent, received),
            Some(before) => run_log.next_event(before, received),
        };
        run_log.record_status(ticket, &status, read);
        before = Some(read);
        if !matches!(told, ObservedStatus::Final(_)) {
            told = status;
        }
    }
    Ok((told, None))
}
