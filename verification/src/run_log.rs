//! The journal file and the in-memory request log, which are written together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use uuid::Uuid;

use crate::contract::ObservedStatus;
use crate::journal::{ClockReading, Entry, Header, Journal, RequestRecord};
use crate::request_log::{RequestLog, UNKNOWN};
use crate::status_read::{RunClock, StatusRead};

pub struct RunLog {
    /// `None` if an existing journal is being verified.
    journal: Option<Journal>,
    request_log: Mutex<RequestLog>,
    clock: RunClock,
}

impl RunLog {
    /// Opens the log of a new run. Times are relative to `start`.
    pub fn open(journal: Journal, header: &Header, start: Instant) -> Self {
        journal.record(&Entry::Run(header.clone()));
        // The journal is useless without its header.
        journal.flush();
        let (request_log, clock) = (Mutex::new(RequestLog::new(&header.name)), RunClock::starting(start));
        Self { journal: Some(journal), request_log, clock }
    }

    /// The log of an existing journal.
    pub fn of(request_log: RequestLog) -> Self {
        let clock = RunClock::after(request_log.latest);
        Self { journal: None, request_log: Mutex::new(request_log), clock }
    }

    pub fn request_log(&self) -> MutexGuard<'_, RequestLog> {
        self.request_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn record_request(&self, record: RequestRecord) {
        let entry = Entry::Request(record);
        self.record(&entry);
        self.request_log().enter(entry);
    }

    /// A read of a ticket's status, in the time of the journal.
    pub fn status_read(&self, instance: u16, sent: Instant, received: Instant) -> StatusRead {
        self.clock.status_read(instance, sent, received)
    }

    /// The read that follows `before` on the same event stream.
    pub fn next_event(&self, before: StatusRead, received: Instant) -> StatusRead {
        self.clock.next_event(before, received)
    }

    /// Records a status that a client received. Only statuses that can violate a rule are written to the journal;
    /// otherwise polls would fill it. Returns whether the status is allowed.
    pub fn record_status(&self, ticket: Uuid, status: &ObservedStatus, read: StatusRead) -> bool {
        match status {
            ObservedStatus::Final(outcome) => {
                if self.request_log().record_status(ticket, outcome, read) {
                    self.record(&Entry::Final { ticket, outcome: outcome.clone(), read });
                }
                true
            }
            ObservedStatus::Queued => {
                let is_after_final = self.request_log().is_after_final(ticket, read);
                !is_after_final || self.record_not_final(ticket, "queued", read)
            }
            ObservedStatus::Unknown | ObservedStatus::Unavailable => true,
        }
    }

    /// Records that an issued ticket was reported as unknown.
    pub fn record_unknown(&self, ticket: Uuid, read: StatusRead) {
        self.record_not_final(ticket, UNKNOWN, read);
    }

    fn record_not_final(&self, ticket: Uuid, status: &str, read: StatusRead) -> bool {
        self.record(&Entry::Unsettled { ticket, status: status.into(), read });
        self.request_log().record_not_final(ticket, status, read)
    }

    pub fn record_clock(&self, reading: ClockReading) {
        let entry = Entry::Clock(reading);
        self.record(&entry);
        self.request_log().enter(entry);
    }

    /// Writes buffered entries to the file.
    pub fn flush(&self) {
        if let Some(journal) = &self.journal {
            journal.flush();
        }
    }

    /// Writes the end of the journal and closes it.
    pub fn close(&self, interrupted: bool) -> Result<()> {
        let end = Entry::End { interrupted };
        self.record(&end);
        self.request_log().enter(end);
        self.leave()
    }

    /// Closes the journal without an end entry.
    pub fn leave(&self) -> Result<()> {
        self.journal.as_ref().map_or(Ok(()), Journal::close)
    }

    /// The path of the journal.
    pub fn path(&self) -> String {
        self.journal.as_ref().map(|journal| journal.path.display().to_string()).unwrap_or_default()
    }

    fn record(&self, entry: &Entry) {
        if let Some(journal) = &self.journal {
            journal.record(entry);
        }
    }
}
