//! An instance of the api that ticket statuses are read from.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::contract::ObservedStatus;
use crate::http::{Client, RequestError};
use crate::run_log::RunLog;
use crate::status_read::StatusRead;

#[derive(Clone)]
pub struct Instance {
    /// Number in the journal. Bookings are sent to instance 0.
    pub number: u16,
    pub client: Client,
}

/// The status of a ticket, as reported by one instance.
pub struct StatusObservation {
    pub told: ObservedStatus,
    pub read: StatusRead,
    pub retry_after: Option<Duration>,
}

impl Instance {
    /// Reads the status once. `query` may ask the api to hold the request.
    pub async fn ask(
        &self,
        run_log: &RunLog,
        ticket: Uuid,
        query: &str,
    ) -> Result<StatusObservation, RequestError> {
        // Taken before a connection is available, so it is never later than the actual sending.
        let sent = Instant::now();
        let reply = self.client.get(&format!("/ticket-bookings/{ticket}{query}")).await?;
        let read = run_log.status_read(self.number, sent, Instant::now());
        Ok(StatusObservation { told: ObservedStatus::read(&reply), read, retry_after: reply.retry_after() })
    }
}
