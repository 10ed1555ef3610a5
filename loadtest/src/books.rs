//! The journal file and the in-memory ledger, which are written together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use uuid::Uuid;

use crate::journal::{Asked, Entry, Header, Journal};
use crate::ledger::{Ledger, UNKNOWN};
use crate::status_read::{RunClock, StatusRead};
use crate::wire::Told;

pub struct Books {
    /// `None` if an existing journal is being verified.
    journal: Option<Journal>,
    ledger: Mutex<Ledger>,
    clock: RunClock,
}

impl Books {
    /// Opens the books of a new run. Times are relative to `start`.
    pub fn open(journal: Journal, header: &Header, start: Instant) -> Self {
        journal.record(&Entry::Run(header.clone()));
        // The journal is useless without its header.
        journal.flush();
        let (ledger, clock) = (Mutex::new(Ledger::new(&header.name)), RunClock::starting(start));
        Self { journal: Some(journal), ledger, clock }
    }

    /// The books of an existing journal.
    pub fn of(ledger: Ledger) -> Self {
        let clock = RunClock::after(ledger.latest);
        Self { journal: None, ledger: Mutex::new(ledger), clock }
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn asked(&self, asked: Asked) {
        let entry = Entry::Asked(asked);
        self.record(&entry);
        self.ledger().enter(entry);
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
    pub fn told(&self, ticket: Uuid, told: &Told, read: StatusRead) -> bool {
        match told {
            Told::Final(outcome) => {
                if self.ledger().told(ticket, outcome, read) {
                    self.record(&Entry::Told { ticket, outcome: outcome.clone(), read });
                }
                true
            }
            Told::Queued => {
                let is_after_the_end = self.ledger().is_after_the_end(ticket, read);
                !is_after_the_end || self.unsettled(ticket, "queued", read)
            }
            Told::Unknown | Told::Nothing => true,
        }
    }

    /// Records that an issued ticket was reported as unknown.
    pub fn is_unknown(&self, ticket: Uuid, read: StatusRead) {
        self.unsettled(ticket, UNKNOWN, read);
    }

    fn unsettled(&self, ticket: Uuid, status: &str, read: StatusRead) -> bool {
        self.record(&Entry::Unsettled { ticket, status: status.into(), read });
        self.ledger().unsettled(ticket, status, read)
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
        self.ledger().enter(end);
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
