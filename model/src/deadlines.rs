//! Deadlines: how a ticket that is not settled in time ends, and is not sold afterwards.
//!
//! # What is modelled
//!
//! A first try and its retry under the same key, for one seat. An instance issues each with a deadline, by a clock that
//! differs from the database's. Its message may never have reached the queue, because the confirm was lost. A worker
//! locks the seat and decides by its own clock, with the product's own
//! [`allocate`](hamro_worker::settlement::allocation::allocate), inserts the ticket's row and commits. Meanwhile an
//! instance may *fence* the ticket (`expire` in `shared/src/database/tickets.rs`, one statement): on the waiting
//! endpoint (`api/src/bookings/book_seats.rs`) or for a status read (`api/src/bookings/outcome.rs`). The statement
//! waits for an uncommitted row of the ticket. A worker may die; its transaction lives on for a while, and may still
//! commit.
//!
//! Clocks are *corrected* by an offset that each process measures (`shared/src/database/clock.rs`). What remains is at
//! most one step here.
//!
//! # What is left out
//!
//! Batches and duplicates ([`settlement`](crate::settlement)), and what other instances report
//! ([`status_reads`](crate::status_reads)).

mod action;
mod decisions;
mod properties;
mod rules;
mod transactions;

use std::collections::BTreeSet;

use hamro_shared::domain::{Ticket, Timestamp};
use hamro_worker::settlement::batch::BookingCommand;
use stateright::{Model, Property};

pub use self::action::Action;
pub use self::properties::*;
pub use self::rules::Rule;
use self::transactions::Transaction;
use crate::bookings::{command, moment, ticket_id};

/// How long a ticket may be sold.
const VALID_FOR: i8 = 2;

/// The largest error of a corrected clock, and of one that is not.
const CORRECTED: i8 = 1;
const WRONG: i8 = 3;

const TICKETS: usize = 2;

type Id = usize;

/// The model: how much of it to explore, and without which rules.
#[derive(Clone, Debug)]
pub struct Deadlines {
    pub workers: usize,
    /// The last moment at which a ticket is issued.
    pub last_issue: i8,
    pub crashes: u8,
    pub removed: BTreeSet<Rule>,
    /// The first try and its retry, as a worker receives them.
    pub commands: Vec<BookingCommand>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The database's clock.
    now: i8,
    tickets: [Option<Issued>; TICKETS],
    rows: [Option<Row>; TICKETS],
    /// The status that each client received first.
    reported: [Option<Outcome>; TICKETS],
    /// Of each worker. They hold the lock of the seat.
    transactions: Vec<Option<Transaction>>,
    orphan: Option<Transaction>,
    crashes_left: u8,
    has_met_fence: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Issued {
    deadline: i8,
    message: Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    NotStored,
    Ready,
    Delivered,
    Acknowledged,
    /// Its batch was given up.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Sold,
    Rejected,
    Expired,
    Shared { expired: bool },
}

/// A row of `bookings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Row {
    outcome: Outcome,
    /// The database's clock when this was decided.
    decided_at: i8,
    is_fence: bool,
}

impl Deadlines {
    pub fn small() -> Self {
        let key = Some("key");
        let id = |number| ticket_id(number, moment(0));
        let booking = |number| command(Ticket { id: id(number), deadline: moment(0) }, &[0], key);
        let commands = (0..2).map(booking).collect();
        Self { workers: 2, last_issue: 1, crashes: 1, removed: BTreeSet::new(), commands }
    }

    #[must_use]
    pub fn without(self, rules: &[Rule]) -> Self {
        Self { removed: rules.iter().copied().collect(), ..self }
    }

    fn has(&self, rule: Rule) -> bool {
        !self.removed.contains(&rule)
    }

    fn clock_error(&self) -> i8 {
        if self.has(Rule::ClocksAreCorrected) { CORRECTED } else { WRONG }
    }

    /// Late enough for every ticket to be past its deadline.
    fn end(&self) -> i8 {
        self.last_issue + VALID_FOR + self.clock_error() + 1
    }

    fn ticket(&self, id: Id, deadline: i8) -> Ticket {
        Ticket { id: self.commands[id].ticket.id, deadline: at(deadline) }
    }
}

fn at(step: i8) -> Timestamp {
    moment(1_000 * i64::from(step))
}

impl Model for Deadlines {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            tickets: [None; TICKETS],
            rows: [None; TICKETS],
            reported: [None; TICKETS],
            transactions: vec![None; self.workers],
            orphan: None,
            crashes_left: self.crashes,
            has_met_fence: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < self.end() && !state.is_over() {
            actions.push(Action::Tick);
        }
        let errors = -self.clock_error()..=self.clock_error();
        for ticket in 0..TICKETS {
            let Some(issued) = state.tickets[ticket] else {
                // The retry follows the first try.
                if state.now <= self.last_issue && (ticket == 0 || state.tickets[ticket - 1].is_some()) {
                    for clock_error in errors.clone() {
                        actions.push(Action::Issue { ticket, clock_error, is_stored: true });
                    }
                    actions.push(Action::Issue { ticket, clock_error: 0, is_stored: false });
                }
                continue;
            };
            if issued.message == Message::Ready && state.open().next().is_none() {
                for worker in 0..self.workers {
                    let decide = |clock_error| Action::Decide { worker, ticket, clock_error };
                    actions.extend(errors.clone().map(decide));
                }
            }
            if self.may_fence(state, ticket)
                && !state.has_uncommitted(ticket)
                && state.reported[ticket].is_none()
            {
                actions.push(Action::Fence { ticket });
            }
            if state.rows[ticket].is_some() && state.reported[ticket].is_none() {
                actions.push(Action::Report { ticket });
            }
        }
        for (worker, transaction) in state.transactions.iter().enumerate() {
            let Some(transaction) = transaction else { continue };
            if transaction.has_inserted || transaction.row.is_none() {
                actions.push(Action::Commit { worker });
            } else {
                actions.push(Action::Insert { worker });
            }
            if state.crashes_left > 0 && state.orphan.is_none() {
                actions.push(Action::Crash { worker });
            }
        }
        if let Some(orphan) = state.orphan {
            actions.push(Action::AbortOrphan);
            if orphan.has_inserted {
                actions.push(Action::CommitOrphan);
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => state.now += 1,
            Action::Issue { ticket, clock_error, is_stored } => {
                let message = if is_stored { Message::Ready } else { Message::NotStored };
                let deadline = state.now + clock_error + VALID_FOR;
                state.tickets[ticket] = Some(Issued { deadline, message });
            }
            Action::Decide { worker, ticket, clock_error } => {
                let issued = state.tickets[ticket]?;
                let outcome = self.decide(&state, ticket, issued.deadline, state.now + clock_error);
                let row = outcome.map(|outcome| Row { outcome, decided_at: state.now, is_fence: false });
                state.transactions[worker] = Some(Transaction { ticket, row, has_inserted: false });
                state.set_message(ticket, Message::Delivered);
            }
            Action::Insert { worker } => {
                let transaction = state.transactions[worker].as_mut()?;
                let ticket = transaction.ticket;
                if state.rows[ticket].is_some() && self.has(Rule::TicketsAreUnique) {
                    state.transactions[worker] = None;
                    state.has_met_fence = true;
                    let is_retried = self.has(Rule::ConflictsAreRetried);
                    state.set_message(ticket, if is_retried { Message::Ready } else { Message::Dropped });
                } else {
                    transaction.has_inserted = true;
                }
            }
            Action::Commit { worker } => {
                let transaction = state.transactions[worker].take()?;
                state.apply(transaction);
                state.set_message(transaction.ticket, Message::Acknowledged);
            }
            Action::Crash { worker } => {
                state.crashes_left -= 1;
                state.orphan = state.transactions[worker].take();
                state.set_message(state.orphan?.ticket, Message::Ready);
            }
            Action::CommitOrphan => {
                let orphan = state.orphan.take()?;
                state.apply(orphan);
            }
            Action::AbortOrphan => state.orphan = None,
            Action::Fence { ticket } => {
                let fence = Row { outcome: Outcome::Expired, decided_at: state.now, is_fence: true };
                if self.has(Rule::FencesInsertRows) {
                    state.rows[ticket] = Some(fence);
                }
                state.reported[ticket] = Some(Outcome::Expired);
            }
            Action::Report { ticket } => {
                let row = state.rows[ticket]?;
                let deadline = state.tickets[ticket]?.deadline;
                let is_past = self.ticket(ticket, deadline).is_past_deadline(at(state.now));
                // Without the rule, a fence that finds a row reports nevertheless what it wanted to insert.
                let reports_stored = self.has(Rule::FencesReportWhatIsStored) || !is_past;
                state.reported[ticket] = Some(if reports_stored { row.outcome } else { Outcome::Expired });
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Self::checked_properties()
    }
}
