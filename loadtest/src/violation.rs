//! What must hold, and what was found not to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What must hold of every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Every accepted ticket reaches a final status.
    EveryTicketEnds,
    /// A final status never changes. The instance that reported it reports it from then on; another may answer `queued`
    /// for up to one second longer.
    NeverChanges,
    /// No two requests get the same ticket.
    OneTicketEach,
    /// No seat is in two bookings.
    NoSeatTwice,
    /// A booking has the seats that its buyer asked for, and no others.
    JustWhatWasAsked,
    /// One idempotency key, one booking; and each booking one key's.
    OneKeyOneBooking,
    /// Nobody is told that seats are taken that nobody has.
    NoFreeSeatRefused,
    /// The seat map shows as sold what was confirmed.
    MapAgrees,
    /// A tier has as many seats less as are sold.
    TiersAgree,
    /// The database has what buyers were told.
    DatabaseAgrees,
}

impl Rule {
    pub const ALL: [Self; 10] = [
        Self::EveryTicketEnds,
        Self::NeverChanges,
        Self::OneTicketEach,
        Self::NoSeatTwice,
        Self::JustWhatWasAsked,
        Self::OneKeyOneBooking,
        Self::NoFreeSeatRefused,
        Self::MapAgrees,
        Self::TiersAgree,
        Self::DatabaseAgrees,
    ];

    pub fn sentence(self) -> &'static str {
        match self {
            Self::EveryTicketEnds => "every accepted ticket reaches a final status",
            Self::NeverChanges => "a final status never changes; another instance may lag by one second",
            Self::OneTicketEach => "no two requests get the same ticket",
            Self::NoSeatTwice => "no seat is sold twice",
            Self::JustWhatWasAsked => "a booking has just the seats that its buyer asked for",
            Self::OneKeyOneBooking => "one idempotency key, one booking",
            Self::NoFreeSeatRefused => "nobody is refused a seat that nobody has",
            Self::MapAgrees => "the seat map shows as sold what was confirmed",
            Self::TiersAgree => "the tiers count what is sold",
            Self::DatabaseAgrees => "the database has what buyers were told",
        }
    }
}

/// So many of each rule are told one by one; of more only the number.
const LISTED: usize = 20;

/// What does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations(BTreeMap<Rule, Broken>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// How often.
    pub count: u64,
    /// The first of them.
    pub listed: Vec<String>,
}

impl Violations {
    pub fn add(&mut self, rule: Rule, what: impl Into<String>) {
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

    pub fn of(&self, rule: Rule) -> Option<&Broken> {
        self.0.get(&rule)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
