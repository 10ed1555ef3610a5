//! Early rejection: an instance that knows that a seat is sold refuses a booking without queueing it.
//!
//! # What is modelled
//!
//! One concert. The database has a *history*: an epoch, drawn when it is created or restored, and a timeline, which a failover
//! changes. The concert has a `freed_version`, which changes in every transaction that frees a seat and in no sale.
//!
//! - **Instances** ([`instances`]) load the seats together with both. They learn later sales from announcements,
//!   which may be late or lost, and whose digests may be of a later version. They compare them with those in the
//!   database; a match gives a *lease* of one second. They decide with the product's own
//!   [`rule`](hamro_api::early_rejection::rule). They may also queue any attempt.
//! - **Workers** ([`database`]) decide with the product's own
//!   [`allocate`](hamro_worker::settlement::allocation::allocate). A seat counts as sold for tickets issued before its
//!   `free_from`. A release has two transactions: the first makes nobody get the seat, and the second, after its commit, sets
//!   `free_from` to its own time + 3 s. The instance may end in between; then another finishes the release. A restore sets
//!   `free_from` of all seats to its own time + 3 s.
//! - **Failovers**: all sessions end, and all leases before. With synchronous replication nothing is lost. Otherwise the sales are.
//! - **Clients** ([`attempts`]): a first try, its retry under the same key, and another customer without a key.
//!
//! Time passes in steps of a second, and everything can happen in any order within a second. *Less than a second* is a
//! difference of at most one step. This allows more than the product does, so what holds here holds there.
//!
//! # What is left out
//!
//! The queue, redelivery and crashes of workers ([`settlement`](crate::settlement)); deadlines
//! ([`deadlines`](crate::deadlines)); the hash collisions of digests, which only lead to queueing.
//!
//! Several concerts: what an instance knows of a seat, and the lease that it needs, are those of the seat's concert, and one sold
//! seat decides. So the other seats of an attempt make no difference, in whatever concerts they are.

mod action;
mod attempts;
mod database;
mod instances;
mod properties;
mod rules;
mod steps;

use std::collections::BTreeSet;

use hamro_shared::domain::{Ticket, TicketId};
use hamro_worker::settlement::batch::BookingCommand;

pub use self::action::Action;
use self::attempts::{Attempt, Refusal};
use self::instances::Instance;
pub use self::properties::*;
pub use self::rules::Rule;
use crate::bookings::{command, moment};

/// How long a comparison counts, from its beginning.
const LEASE: u8 = 1;

/// How long after its release a seat becomes free.
const FREE_AFTER: u8 = 3;

/// `free_from` of a seat whose release is not finished.
const NEVER: u8 = u8::MAX;

const ATTEMPTS: usize = 3;

/// The number of an attempt to book.
type Id = usize;

/// A set of attempts, one bit each.
type Ids = u8;

/// The model: how much of it to explore, and without which rules.
#[derive(Clone, Debug)]
pub struct EarlyRejection {
    pub instances: usize,
    pub seats: u8,
    /// The last second.
    pub end: u8,
    pub releases: u8,
    pub restores: u8,
    pub failovers: u8,
    pub removed: BTreeSet<Rule>,
    /// The attempts as a worker receives them.
    pub commands: Vec<BookingCommand>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    now: u8,
    version: SeatsVersion,
    seats: Vec<Seat>,
    attempts: [Attempt; ATTEMPTS],
    instances: Vec<Instance>,
    /// A transaction that has not committed yet.
    release: Option<Release>,
    unfinished: Option<Unfinished>,
    releases_left: u8,
    restores_left: u8,
    failovers_left: u8,
}

/// What tells one state of the seats from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct SeatsVersion {
    epoch: u8,
    timeline: u8,
    freed_version: u8,
}

/// A release whose first transaction is committed, and whose second is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Unfinished {
    /// The instance that began it has ended.
    is_abandoned: bool,
}

/// A row of `seats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Seat {
    sold_to: Option<Id>,
    /// Tickets issued before this cannot have the seat.
    free_from: u8,
    /// The sales of this seat that were released.
    released: Ids,
}

/// The transaction that takes the seats from a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Release {
    attempt: Id,
    only_first: bool,
    free_from: u8,
}

/// The first try and its retry share a key. The third attempt is another customer's, without a key.
fn key(attempt: Id) -> Option<&'static str> {
    (attempt < 2).then_some("key")
}

fn has_same_key(one: Id, other: Id) -> bool {
    key(one).is_some() && key(one) == key(other)
}

fn contains(ids: Ids, id: Id) -> bool {
    ids & 1 << id != 0
}

impl EarlyRejection {
    /// One instance and one seat. The first try and its retry want all seats, the other customer the first.
    pub fn small() -> Self {
        Self {
            instances: 1,
            seats: 1,
            end: 4,
            releases: 1,
            restores: 0,
            failovers: 0,
            removed: BTreeSet::new(),
            commands: commands(1),
        }
    }

    #[must_use]
    pub fn with_seats(self, seats: u8) -> Self {
        Self { seats, commands: commands(seats), ..self }
    }

    #[must_use]
    pub fn without(self, rules: &[Rule]) -> Self {
        Self { removed: rules.iter().copied().collect(), ..self }
    }

    fn has(&self, rule: Rule) -> bool {
        !self.removed.contains(&rule)
    }

    fn seats_of(&self, attempt: Id) -> Vec<u8> {
        seats_of(attempt, self.seats)
    }

    fn free_after(&self) -> u8 {
        if self.has(Rule::FreedSeatsWait) { FREE_AFTER } else { 0 }
    }
}

fn seats_of(attempt: Id, seats: u8) -> Vec<u8> {
    if attempt < 2 { (0..seats).collect() } else { vec![0] }
}

/// The bookings as a worker receives them.
fn commands(seats: u8) -> Vec<BookingCommand> {
    let ticket = |id| Ticket { id: ticket_of(id), deadline: moment(i64::from(u16::MAX)) };
    (0..ATTEMPTS).map(|id| command(ticket(id), &seats_of(id, seats), key(id))).collect()
}

impl State {
    fn is_free(&self, seat: u8) -> bool {
        let seat = self.seats[usize::from(seat)];
        seat.sold_to.is_none() && self.now >= seat.free_from
    }

    /// The attempts that satisfy a condition.
    fn among(&self, condition: impl Fn(Id, Attempt) -> bool) -> Ids {
        (0..ATTEMPTS).filter(|id| condition(*id, self.attempts[*id])).fold(0, |ids, id| ids | 1 << id)
    }
}

fn ticket_of(attempt: Id) -> TicketId {
    TicketId(uuid::Uuid::from_u128(attempt as u128 + 1))
}
