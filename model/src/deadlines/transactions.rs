//! The open transactions of workers.

use super::{Id, Message, Row, State};

/// Holds the lock of the seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transaction {
    pub ticket: Id,
    /// `None` if the ticket was found settled.
    pub row: Option<Row>,
    pub has_inserted: bool,
}

impl State {
    /// A fence waits for a transaction that has inserted the ticket's row.
    pub(super) fn has_uncommitted(&self, ticket: Id) -> bool {
        self.open().any(|transaction| transaction.ticket == ticket && transaction.has_inserted)
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &Transaction> {
        self.transactions.iter().flatten().chain(&self.orphan)
    }

    pub(super) fn set_message(&mut self, ticket: Id, message: Message) {
        if let Some(issued) = &mut self.tickets[ticket] {
            issued.message = message;
        }
    }

    pub(super) fn apply(&mut self, transaction: Transaction) {
        if transaction.row.is_some() {
            self.rows[transaction.ticket] = transaction.row;
        }
    }

    /// Whether every ticket has its outcome: time makes no difference any more.
    pub(super) fn is_over(&self) -> bool {
        self.rows.iter().all(Option::is_some)
    }
}
