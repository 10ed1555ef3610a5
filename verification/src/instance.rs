//! An instance of the api.

use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::contract::ObservedStatus;
use crate::http::{Client, RequestError};
use crate::run_log::RunLog;
use crate::status_read::StatusRead;

#[derive(Clone)]
pub struct Instance {
    /// Number in the journal. A restarted process is another instance.
    pub number: u16,
    pub client: Client,
}

/// The status of a ticket, as reported by one instance.
pub struct StatusObservation {
    pub status: ObservedStatus,
    pub read: StatusRead,
    pub retry_after: Option<Duration>,
}

impl Instance {
    /// Reads the status once. `query` may ask the api to hold the request.
    pub async fn read_status(
        &self,
        run_log: &RunLog,
        ticket: Uuid,
        query: &str,
    ) -> Result<StatusObservation, RequestError> {
        // Taken before a connection is available, so it is never later than the actual sending.
        let sent = Instant::now();
        let response = self.client.get(&format!("/ticket-bookings/{ticket}{query}")).await?;
        let read = run_log.status_read(self.number, sent, Instant::now());
        Ok(StatusObservation {
            status: ObservedStatus::read(&response),
            read,
            retry_after: response.retry_after(),
        })
    }
}
