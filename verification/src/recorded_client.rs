//! Simulated buyers' view of the system: each request and each status is recorded before the caller acts on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use uuid::Uuid;

use crate::contract::{BookingIntent, BookingResponse, Outcome, Target};
use crate::follow::{Follow, Pace, pause};
use crate::http::RequestError;
use crate::instance::{Instance, StatusObservation};
use crate::journal::RequestRecord;
use crate::run_log::RunLog;
use crate::status_read::{LAG_ALLOWED, StatusRead};

/// The delay after which a final status is read again. By then every instance must report it.
const READ_AGAIN_AFTER: Duration = LAG_ALLOWED.saturating_add(Duration::from_millis(100));

pub struct RecordedClient {
    /// The name of the run.
    pub run: String,
    pub run_log: Arc<RunLog>,
    pub pace: Pace,
    failed_reads: AtomicU64,
}

/// A recorded response to a booking.
pub struct Booked {
    pub response: BookingResponse,
    /// When it was received.
    pub at: Instant,
}

impl RecordedClient {
    pub fn new(run: String, run_log: Arc<RunLog>, pace: Pace) -> Self {
        Self { run, run_log, pace, failed_reads: AtomicU64::new(0) }
    }

    /// The number of status reads without a status.
    pub fn failed_reads(&self) -> u64 {
        self.failed_reads.load(Ordering::Relaxed)
    }

    /// Sends a booking that was due at this moment, and records the response. Disconnects after `patience`, if it is set
    /// and shorter than the timeout of the client.
    pub async fn book(
        &self,
        instance: &Instance,
        target: Target,
        intent: BookingIntent,
        due: Instant,
        patience: Option<Duration>,
    ) -> Booked {
        let sending = intent.request(&instance.client, target.path(), &self.run).send();
        let response = match patience {
            Some(patience) => timeout(patience, sending).await.unwrap_or(Err(RequestError::TimedOut)),
            None => sending.await,
        };
        let at = Instant::now();
        let response = response.map_or_else(
            |error| BookingResponse::missing(&error),
            |response| BookingResponse::read(&response),
        );
        let StatusRead { instance, sent: due, took } = self.run_log.status_read(instance.number, due, at);
        let record = RequestRecord { intent, instance, target, due, took, response: response.clone() };
        self.run_log.record_request(record);
        Booked { response, at }
    }

    /// Follows the ticket until it is final. Each read is sent to the instance that `choose` returns.
    pub async fn follow_until_final(
        &self,
        follow: Follow,
        choose: impl Fn() -> Instance,
        ticket: Uuid,
    ) -> (Outcome, Instance) {
        let on_failure = || {
            self.failed_reads.fetch_add(1, Ordering::Relaxed);
        };
        follow.until_final(&self.pace, choose, on_failure, &self.run_log, ticket).await
    }

    /// Reads a final status again: at once from one instance, and from all after the time in which each must report
    /// it. Reading at once from the instance that reported it would prove little, because it has probably cached the
    /// status.
    pub async fn read_again(&self, one: Instance, all: impl Fn() -> Vec<Instance>, ticket: Uuid) {
        self.read_once(&one, ticket).await;
        pause(READ_AGAIN_AFTER).await;
        for instance in all() {
            self.read_once(&instance, ticket).await;
        }
    }

    async fn read_once(&self, instance: &Instance, ticket: Uuid) {
        let reading = timeout(self.pace.read_timeout, instance.read_status(&self.run_log, ticket, ""));
        if let Ok(Ok(StatusObservation { status, read, .. })) = reading.await {
            self.run_log.record_status(ticket, &status, read);
        }
    }
}
