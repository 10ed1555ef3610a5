//! Settlement: how bookings that are delivered more than once are decided once.
//!
//! # What is modelled
//!
//! - **The broker** delivers messages in order, each to one worker ([`delivery`]). It delivers them again when the
//!   worker dies or loses its connection. A message may exist twice, as it does after an interrupted republication.
//! - **Workers** take batches, up to two at a time, and settle each in one transaction ([`transaction`], the statements of
//!   `worker/src/settlement/transaction.rs`). They decide with the product's own
//!   [`allocate`](hamro_worker::settlement::allocation::allocate). The second batch starts once the first has locked
//!   its seats. A transaction that fails is rolled back and the batch is tried again.
//! - **Postgres**: row locks on seats; at READ COMMITTED, each statement sees what is committed when it begins; a row
//!   that conflicts with an uncommitted one waits; a row that conflicts with a committed one fails; deadlocks are
//!   found and broken. A session whose worker is gone lives on for a while as an *orphan*: it holds its locks, and a
//!   commit that was already sent may still happen.
//! - **Administrators** release sales ([`release`], the statements of `api/src/bookings/release_transaction.rs`), also one sale twice at
//!   the same time. Tickets that are issued later may have the seats.
//!
//! # What is left out
//!
//! Time and deadlines ([`deadlines`](crate::deadlines)); bookings that the database refuses, which are split from
//! their batch and set aside; seats that an operator's session keeps locked; tiers and their counters, whose lock is
//! taken last and by all in one order.

mod action;
mod delivery;
mod properties;
mod release;
mod rules;
mod transaction;
mod waiting;

use std::collections::BTreeSet;

use hamro_shared::domain::Ticket;
use hamro_worker::settlement::batch::BookingCommand;
use stateright::{Model, Property};

pub use self::action::Action;
pub use self::properties::*;
pub use self::rules::Rule;
use self::transaction::Transaction;
use crate::bookings::{command, moment, ticket_id};

/// A batch that was rolled back this often will not end.
const ATTEMPTS_MAX: u8 = 5;

/// The number of a ticket.
type Id = u8;

/// What a customer wants.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    pub seats: &'static [u8],
    pub key: Option<&'static str>,
    /// Its ticket is issued once a released seat is free.
    pub is_late: bool,
}

/// When a released seat is free, and when late tickets are issued, in milliseconds.
const FREE_FROM: i64 = 3_000;
const LATE: i64 = 10_000;

/// The model: how much of it to explore, and without which rules.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// Seats with a smaller number exist.
    pub seats: u8,
    pub workers: usize,
    /// The batches that a worker may have in flight.
    pub in_flight: usize,
    /// The most bookings in a batch.
    pub batch_max: usize,
    pub crashes: u8,
    /// How often a session may be lost while its worker lives, before, at or after a commit.
    pub lost_sessions: u8,
    pub duplicates: u8,
    /// How many releases may begin.
    pub releases: u8,
    pub removed: BTreeSet<Rule>,
    pub requests: Vec<Request>,
    /// The same as a worker receives them.
    pub commands: Vec<BookingCommand>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    messages: Vec<Message>,
    workers: Vec<Vec<Flight>>,
    /// Transactions whose worker is gone.
    orphans: Vec<Transaction>,
    /// The transactions of administrators.
    releases: Vec<Transaction>,
    database: Database,
    crashes_left: u8,
    losses_left: u8,
    duplicates_left: u8,
    releases_left: u8,
    /// What has happened on the way, for the situations that must be reached.
    seen: Seen,
}

/// What is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Database {
    /// For each ticket, its rows in `bookings`.
    rows: Vec<Vec<Outcome>>,
    /// For each seat, the tickets of its live sales.
    sales: Vec<Vec<Id>>,
    /// The seats that are marked as sold, and those that were released, one bit each.
    marked: u8,
    released: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Sold,
    /// Sold and released by a release that breaks the rule that the sale keeps its key.
    SoldWithoutKey,
    Rejected(Reason),
    SharedWith(Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reason {
    /// A seat was sold. The tickets that had one of the seats when this was committed, one bit each, and
    /// [`NOT_YET_FREE`].
    Taken {
        by: u8,
    },
    NotFound,
    KeyReused,
}

/// The bit of no ticket: a seat was released after the rejected ticket was issued.
const NOT_YET_FREE: u8 = 1 << 7;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Message {
    ticket: Id,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    NotIssued,
    Ready,
    Delivered,
    Acknowledged,
}

/// A batch that a worker has in flight.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Flight {
    /// The numbers of its messages.
    messages: Vec<usize>,
    transaction: Option<Transaction>,
    is_committed: bool,
    /// How often it was rolled back.
    rolled_back: u8,
}

#[expect(clippy::struct_excessive_bools, reason = "they are independent")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    redelivered_after_commit: bool,
    two_in_flight: bool,
    conflict: bool,
    orphan_committed: bool,
}

impl Settlement {
    /// Two workers with a batch each of up to two bookings, and no faults.
    pub fn of(seats: u8, requests: &[Request]) -> Self {
        Self {
            seats,
            workers: 2,
            in_flight: 1,
            batch_max: 2,
            crashes: 0,
            lost_sessions: 0,
            duplicates: 0,
            releases: 0,
            removed: BTreeSet::new(),
            commands: commands(requests),
            requests: requests.to_vec(),
        }
    }

    #[must_use]
    pub fn without(self, rules: &[Rule]) -> Self {
        Self { removed: rules.iter().copied().collect(), ..self }
    }

    fn has(&self, rule: Rule) -> bool {
        !self.removed.contains(&rule)
    }

    fn key(&self, ticket: Id) -> Option<&'static str> {
        self.requests[usize::from(ticket)].key
    }

    /// Whether both tickets are attempts at one booking.
    fn has_same_key(&self, one: Id, other: Id) -> bool {
        self.key(one).is_some() && self.key(one) == self.key(other)
    }
}

/// The bookings as a worker receives them.
fn commands(requests: &[Request]) -> Vec<BookingCommand> {
    let deadline = moment(900_000);
    let numbered = (0..).zip(requests);
    numbered
        .map(|(number, request)| {
            let issued_at = moment(if request.is_late { LATE } else { 0 });
            command(Ticket { id: ticket_id(number, issued_at), deadline }, request.seats, request.key)
        })
        .collect()
}

impl Database {
    fn is_settled(&self, ticket: Id) -> bool {
        !self.rows[usize::from(ticket)].is_empty()
    }
}

impl Outcome {
    /// Only a decision holds a key, and a retry never does.
    fn holds_key(self) -> bool {
        matches!(self, Self::Sold | Self::Rejected(Reason::Taken { .. }))
    }
}

impl Model for Settlement {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let message = |(ticket, request): (Id, &Request)| {
            let place = if request.is_late { Place::NotIssued } else { Place::Ready };
            Message { ticket, place }
        };
        vec![State {
            messages: (0..).zip(&self.requests).map(message).collect(),
            workers: vec![Vec::new(); self.workers],
            orphans: Vec::new(),
            releases: Vec::new(),
            database: Database {
                rows: vec![Vec::new(); self.requests.len()],
                sales: vec![Vec::new(); usize::from(self.seats)],
                marked: 0,
                released: 0,
            },
            crashes_left: self.crashes,
            losses_left: self.lost_sessions,
            duplicates_left: self.duplicates,
            releases_left: self.releases,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.delivery_actions(state, actions);
        self.transaction_actions(state, actions);
        self.release_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Take { worker, count } => state.take(worker, count),
            Action::Acknowledge { worker, flight } => state.acknowledge(self, worker, flight),
            Action::Crash { worker } => state.crash(worker),
            Action::Duplicate { ticket } => {
                state.duplicates_left -= 1;
                state.messages.push(Message { ticket, place: Place::Ready });
            }
            Action::Step { worker, flight } => state.step(self, worker, flight),
            Action::Commit { worker, flight } => {
                let transaction = state.workers[worker][flight].transaction.take()?;
                state.database.commit(self, &transaction);
                state.workers[worker][flight].is_committed = true;
            }
            Action::CommitWithoutResponse { worker, flight } => {
                state.losses_left -= 1;
                let transaction = state.workers[worker][flight].transaction.take()?;
                state.database.commit(self, &transaction);
                state.workers[worker][flight].roll_back();
            }
            Action::LoseSession { worker, flight } => {
                state.losses_left -= 1;
                state.workers[worker][flight].roll_back();
            }
            Action::Abort { worker, flight } => state.workers[worker][flight].roll_back(),
            Action::CommitOrphan { orphan } => {
                let transaction = state.orphans.remove(orphan);
                state.database.commit(self, &transaction);
                state.seen.orphan_committed = true;
            }
            Action::AbortOrphan { orphan } => drop(state.orphans.remove(orphan)),
            Action::BeginRelease { ticket } => state.begin_release(ticket),
            Action::StepRelease { release } => state.step_release(self, release),
            Action::CommitRelease { release } => {
                let transaction = state.releases.remove(release);
                state.database.commit(self, &transaction);
            }
            Action::AbortRelease { release } => drop(state.releases.remove(release)),
            Action::Issue { ticket } => state.messages[usize::from(ticket)].place = Place::Ready,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.checked_properties()
    }
}
