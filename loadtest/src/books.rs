//! The journal and the ledger, which are written together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use uuid::Uuid;

use crate::journal::{Asked, Entry, Header, Journal};
use crate::ledger::Ledger;
use crate::wire::Outcome;

pub struct Books {
    /// None, when what has been journalled is read again.
    journal: Option<Journal>,
    ledger: Mutex<Ledger>,
}

impl Books {
    pub fn open(journal: Journal, header: &Header) -> Self {
        journal.record(&Entry::Run(header.clone()));
        // Without it the rest says nothing.
        journal.flush();
        Self { journal: Some(journal), ledger: Mutex::new(Ledger::new(&header.name)) }
    }

    /// Books of what was journalled before.
    pub fn of(ledger: Ledger) -> Self {
        Self { journal: None, ledger: Mutex::new(ledger) }
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn asked(&self, asked: Asked) {
        let entry = Entry::Asked(asked);
        self.record(&entry);
        self.ledger().enter(entry);
    }

    /// What a ticket's holder was told. Only news are journalled, or polls would fill it.
    pub fn told(&self, ticket: Uuid, outcome: Outcome) {
        if self.ledger().told(ticket, &outcome) {
            self.record(&Entry::Told { ticket, outcome });
        }
    }

    /// Whether somebody has been told that the ticket has ended.
    pub fn has_ended(&self, ticket: Uuid) -> bool {
        self.ledger().end_of(ticket).is_some()
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
