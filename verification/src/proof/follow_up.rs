//! Waits until all tickets are final.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use hamro_shared::backoff::Backoff;
use uuid::Uuid;

use crate::contract::ObservedStatus;
use crate::follow::{Follow, Pace};
use crate::instance::{Instance, StatusObservation};
use crate::run_log::RunLog;

/// Concurrent status reads.
const AT_ONCE: usize = 64;
/// The number of the latest tickets to wait for before all tickets are read.
const LAST: usize = 8;

/// Waits until the latest tickets are final, which causes almost no load. Reading all tickets while the queue drains
/// would slow down the measured system. The queue is not strictly ordered, so other tickets may still be queued.
pub async fn drain(run_log: &RunLog, instance: &Instance, deadline: Instant) {
    let mut last = run_log.request_log().tickets();
    last.retain(|ticket| run_log.request_log().must_become_final(*ticket));
    // Tickets sort by time of issue.
    last.sort_unstable_by(|a, b| b.cmp(a));
    last.truncate(LAST);
    for ticket in last {
        let pace = Pace::default();
        let waiting = Follow::Wait.until_final(&pace, || instance.clone(), || {}, run_log, ticket);
        if tokio::time::timeout_at(deadline.into(), waiting).await.is_err() {
            return;
        }
    }
}

/// Reads the status of every ticket, including those that are known to be final. Repeats this for tickets that are not
/// final, until all are or the deadline has passed. Each instance gets a share of the tickets, and a different
/// one in each round. `progress` receives the number of tickets read.
pub async fn follow_all(run_log: &RunLog, instances: &[Instance], deadline: Instant, progress: impl Fn(u64)) {
    let mut tickets = run_log.request_log().tickets();
    tickets.sort_unstable();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    for round in 0.. {
        let mut left = Vec::new();
        let mut reading = stream::iter(tickets.into_iter().enumerate())
            .map(|(number, ticket)| read(run_log, &instances[(number + round) % instances.len()], ticket))
            .buffer_unordered(AT_ONCE);
        let mut done = 0;
        while let Some((ticket, is_over)) = reading.next().await {
            done += 1;
            progress(done);
            if !is_over && run_log.request_log().must_become_final(ticket) {
                left.push(ticket);
            }
        }
        drop(reading);
        if left.is_empty() || Instant::now() >= deadline {
            return;
        }
        backoff.pause().await;
        tickets = left;
    }
}

/// Reads the status once. Returns whether the ticket need not be read again.
async fn read(run_log: &RunLog, instance: &Instance, ticket: Uuid) -> (Uuid, bool) {
    let Ok(StatusObservation { status, read, .. }) = instance.read_status(run_log, ticket, "").await else {
        return (ticket, false);
    };
    let is_allowed = run_log.record_status(ticket, &status, read);
    let is_over = match status {
        ObservedStatus::Final(_) => true,
        // A violation does not go away by waiting.
        ObservedStatus::Queued => !is_allowed,
        ObservedStatus::Unknown => {
            run_log.record_unknown(ticket, read);
            true
        }
        ObservedStatus::Unavailable => false,
    };
    (ticket, is_over)
}
