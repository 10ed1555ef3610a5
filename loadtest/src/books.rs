//! The journal and the ledger, which are written together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use uuid::Uuid;

use crate::journal::{Asked, Entry, Header, Journal};
use crate::ledger::{Ledger, UNKNOWN};
use crate::status_read::{RunClock, StatusRead};
use crate::wire::Told;

pub struct Books {
    /// None, when what has been journalled is read again.
    journal: Option<Journal>,
    ledger: Mutex<Ledger>,
    clock: RunClock,
}

impl Books {
    /// Books of a run whose times count from `start`.
    pub fn open(journal: Journal, header: &Header, start: Instant) -> Self {
        journal.record(&Entry::Run(header.clone()));
        // Without it the rest says nothing.
        journal.flush();
        let (ledger, clock) = (Mutex::new(Ledger::new(&header.name)), RunClock::starting(start));
        Self { journal: Some(journal), ledger, clock }
    }

    /// Books of what was journalled before.
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

    /// A read of a ticket's status, by the clock of the journal.
    pub fn status_read(&self, instance: u16, sent: Instant, received: Instant) -> StatusRead {
        self.clock.status_read(instance, sent, received)
    }

    /// The event of a stream that comes after the one that was this read.
    pub fn next_event(&self, before: StatusRead, received: Instant) -> StatusRead {
        self.clock.next_event(before, received)
    }

    /// What a ticket's holder was told of where it stands. Only what matters to a rule is journalled, or polls would fill
    /// the journal. Returns whether the ticket may stand there.
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

    /// A ticket that was handed out is unknown.
    pub fn is_unknown(&self, ticket: Uuid, read: StatusRead) {
        self.unsettled(ticket, UNKNOWN, read);
    }

    fn unsettled(&self, ticket: Uuid, status: &str, read: StatusRead) -> bool {
        self.record(&Entry::Unsettled { ticket, status: status.into(), read });
        self.ledger().unsettled(ticket, status, read)
    }

    /// Hands to the disk what there is.
    pub fn flush(&self) {
        if let Some(journal) = &self.journal {
            journal.flush();
        }
    }

    /// Ends the journal.
    pub fn close(&self, interrupted: bool) -> Result<()> {
        let end = Entry::End { interrupted };
        self.record(&end);
        self.ledger().enter(end);
        self.leave()
    }

    /// Writes the journal as far as it is, without an end.
    pub fn leave(&self) -> Result<()> {
        self.journal.as_ref().map_or(Ok(()), Journal::close)
    }

    /// Where the journal is.
    pub fn path(&self) -> String {
        self.journal.as_ref().map(|journal| journal.path.display().to_string()).unwrap_or_default()
    }

    fn record(&self, entry: &Entry) {
        if let Some(journal) = &self.journal {
            journal.record(entry);
        }
    }
}
