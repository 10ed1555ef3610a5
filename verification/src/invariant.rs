//! The rules that every run must satisfy, and their violations.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// A rule that every run must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// Every accepted ticket reaches a final status, and its client can read it.
    EveryTicketEnds,
    /// A final status never changes. The instance that reported it reports it from then on; another may report `queued`
    /// for up to one second longer.
    #[serde(alias = "never-changes")]
    FinalStatusNeverChanges,
    /// No two requests get the same ticket.
    #[serde(alias = "one-ticket-each")]
    TicketsAreUnique,
    /// No seat is in two bookings.
    #[serde(alias = "no-seat-twice")]
    NoSeatSoldTwice,
    /// Every outcome belongs to a request, and a booking has exactly the requested seats.
    #[serde(alias = "just-what-was-asked")]
    OnlyWhatWasRequested,
    /// Each attempt has at most one effect, even if it was refused or its connection broke.
    OneEffectPerAttempt,
    /// All attempts under one idempotency key have the same outcome, and a booking belongs to one key.
    #[serde(alias = "one-key-one-booking")]
    OneOutcomePerKey,
    /// Tickets are confirmed or rejected before their deadline, and expire only after it.
    DeadlinesHold,
    /// A refusal names only seats that are sold when it is sent, and not to a request under the same idempotency key.
    #[serde(alias = "no-free-seat-refused")]
    RefusalsAreTrue,
    /// The seat map shows exactly the confirmed seats as sold.
    #[serde(alias = "map-agrees")]
    SeatMapAgrees,
    /// The counters of each tier match its seats.
    TiersAgree,
    /// The database matches the responses that clients received.
    DatabaseAgrees,
    /// Sales, sold seats, bookings and the counters of the tiers agree within the database.
    DatabaseIsConsistent,
    /// Transactions never deadlock.
    NoDeadlock,
    /// No transaction, and therefore no lock, is left open.
    NoOpenTransaction,
    /// No message is left in any queue.
    QueuesAreEmpty,
    /// There is one dead letter for each booking that could not be processed, and no other.
    DeadLettersAddUp,
    /// A booking that is sent after a fault is settled within the stated time.
    Recovers,
}

/// What a rule is checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The responses that clients received, and the catalogue.
    Responses,
    Database,
    /// The database, if the deadlines of bookings are known.
    Deadlines,
    /// The final state of the servers of a test.
    Servers,
}

impl Invariant {
    pub const ALL: [Self; 18] = [
        Self::EveryTicketEnds,
        Self::FinalStatusNeverChanges,
        Self::TicketsAreUnique,
        Self::NoSeatSoldTwice,
        Self::OnlyWhatWasRequested,
        Self::OneEffectPerAttempt,
        Self::OneOutcomePerKey,
        Self::DeadlinesHold,
        Self::RefusalsAreTrue,
        Self::SeatMapAgrees,
        Self::TiersAgree,
        Self::DatabaseAgrees,
        Self::DatabaseIsConsistent,
        Self::NoDeadlock,
        Self::NoOpenTransaction,
        Self::QueuesAreEmpty,
        Self::DeadLettersAddUp,
        Self::Recovers,
    ];

    /// What the rule needs. Some rules of `Responses` are also checked against the database.
    pub fn source(self) -> Source {
        match self {
            Self::EveryTicketEnds
            | Self::FinalStatusNeverChanges
            | Self::TicketsAreUnique
            | Self::NoSeatSoldTwice
            | Self::OnlyWhatWasRequested
            | Self::OneOutcomePerKey
            | Self::RefusalsAreTrue
            | Self::SeatMapAgrees
            | Self::TiersAgree => Source::Responses,
            Self::OneEffectPerAttempt | Self::DatabaseAgrees | Self::DatabaseIsConsistent => Source::Database,
            Self::DeadlinesHold => Source::Deadlines,
            Self::NoDeadlock
            | Self::NoOpenTransaction
            | Self::QueuesAreEmpty
            | Self::DeadLettersAddUp
            | Self::Recovers => Source::Servers,
        }
    }

    pub fn sentence(self) -> &'static str {
        match self {
            Self::EveryTicketEnds => "every accepted ticket reaches a final status",
            Self::FinalStatusNeverChanges => {
                "a final status never changes (another instance may lag by one second)"
            }
            Self::TicketsAreUnique => "no two requests get the same ticket",
            Self::NoSeatSoldTwice => "no seat is sold twice",
            Self::OnlyWhatWasRequested => "a booking has exactly the requested seats",
            Self::OneEffectPerAttempt => "an attempt has at most one effect",
            Self::OneOutcomePerKey => "an idempotency key has one outcome",
            Self::DeadlinesHold => "tickets are decided before their deadline and expire after it",
            Self::RefusalsAreTrue => "a seat that is refused as taken is sold, and not to the same key",
            Self::SeatMapAgrees => "the seat map shows exactly the confirmed seats as sold",
            Self::TiersAgree => "the counters of the tiers match their seats",
            Self::DatabaseAgrees => "the database matches the responses",
            Self::DatabaseIsConsistent => "sales, seats and counters agree within the database",
            Self::NoDeadlock => "transactions never deadlock",
            Self::NoOpenTransaction => "no transaction is left open",
            Self::QueuesAreEmpty => "no message is left in a queue",
            Self::DeadLettersAddUp => "only bookings that cannot be processed become dead letters",
            Self::Recovers => "a booking after a fault is settled in time",
        }
    }
}

/// The number of violations of each rule that are listed. The rest are only counted.
const LISTED: usize = 20;

/// Violations by rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations(BTreeMap<Invariant, Broken>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The number of violations.
    pub count: u64,
    /// The first violations.
    pub listed: Vec<String>,
}

impl Violations {
    pub fn add(&mut self, rule: Invariant, what: impl Into<String>) {
        let broken = self.0.entry(rule).or_default();
        broken.count += 1;
        if broken.listed.len() < LISTED {
            broken.listed.push(what.into());
        }
    }

    pub fn extend(&mut self, others: Self) {
        for (rule, others) in others.0 {
            let broken = self.0.entry(rule).or_default();
            broken.count += others.count;
            broken.listed.extend(others.listed);
            broken.listed.truncate(LISTED);
        }
    }

    pub fn of(&self, rule: Invariant) -> Option<&Broken> {
        self.0.get(&rule)
    }

    /// The violated rules.
    pub fn rules(&self) -> BTreeSet<Invariant> {
        self.0.keys().copied().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Lists the violations, one per line.
impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, Broken { count, listed }) in &self.0 {
            writeln!(f, "{rule:?} is violated {count} times: {}", rule.sentence())?;
            for what in listed {
                writeln!(f, "  {what}")?;
            }
        }
        Ok(())
    }
}
