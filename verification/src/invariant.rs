//! The rules that every run must satisfy, and their violations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A rule that every run must satisfy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Invariant {
    /// Every accepted ticket reaches a final status.
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
    /// A booking has exactly the requested seats.
    #[serde(alias = "just-what-was-asked")]
    OnlyWhatWasRequested,
    /// An idempotency key has at most one booking, and a booking belongs to one key.
    #[serde(alias = "one-key-one-booking")]
    OneOutcomePerKey,
    /// No request is rejected as taken if all its seats are free.
    NoFreeSeatRefused,
    /// The seat map shows exactly the confirmed seats as sold.
    #[serde(alias = "map-agrees")]
    SeatMapAgrees,
    /// The counters of each tier match its seats.
    TiersAgree,
    /// The database matches what clients were told.
    DatabaseAgrees,
}

impl Invariant {
    pub const ALL: [Self; 10] = [
        Self::EveryTicketEnds,
        Self::FinalStatusNeverChanges,
        Self::TicketsAreUnique,
        Self::NoSeatSoldTwice,
        Self::OnlyWhatWasRequested,
        Self::OneOutcomePerKey,
        Self::NoFreeSeatRefused,
        Self::SeatMapAgrees,
        Self::TiersAgree,
        Self::DatabaseAgrees,
    ];

    pub fn sentence(self) -> &'static str {
        match self {
            Self::EveryTicketEnds => "every accepted ticket reaches a final status",
            Self::FinalStatusNeverChanges => {
                "a final status never changes (another instance may lag by one second)"
            }
            Self::TicketsAreUnique => "no two requests get the same ticket",
            Self::NoSeatSoldTwice => "no seat is sold twice",
            Self::OnlyWhatWasRequested => "a booking has exactly the requested seats",
            Self::OneOutcomePerKey => "an idempotency key has at most one booking",
            Self::NoFreeSeatRefused => "no free seat is refused as taken",
            Self::SeatMapAgrees => "the seat map shows exactly the confirmed seats as sold",
            Self::TiersAgree => "the counters of the tiers match their seats",
            Self::DatabaseAgrees => "the database matches what clients were told",
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

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
