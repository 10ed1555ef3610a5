//! All requests and responses, compact enough for millions. Filled during a run or from its journal.

mod status_reads;

use std::collections::HashMap;

use uuid::Uuid;

use crate::journal::{Asked, Entry};
use crate::status_read::{Report, StatusRead};
use crate::wire::{Outcome, Sale, Wish, email};

use crate::violation::{Rule, Violations};

pub use status_reads::{ReadAgain, UNKNOWN};

/// A request.
pub struct Request {
    pub wish: Wish,
    /// Whether it may have had an effect that no response reports.
    pub is_doubtful: bool,
    pub ticket: Option<Uuid>,
    /// The outcome, from its ticket or from its own response.
    pub end: Option<End>,
    /// The first report of the outcome.
    reported: Option<Report>,
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Sold {
        sale: i64,
        settled_at: Option<i64>,
    },
    /// `end` is an index of [`Ledger::ends`].
    Unsold {
        end: u16,
        settled_at: Option<i64>,
    },
}

impl End {
    pub fn settled_at(self) -> Option<i64> {
        match self {
            Self::Sold { settled_at, .. } | Self::Unsold { settled_at, .. } => settled_at,
        }
    }

    /// Whether both are the same outcome. The time is ignored, because the waiting endpoint does not report it.
    fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Sold { sale: a, .. }, Self::Sold { sale: b, .. }) => a == b,
            (Self::Unsold { end: a, .. }, Self::Unsold { end: b, .. }) => a == b,
            _ => false,
        }
    }
}

/// A final status without a sale, and its problem code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsold {
    pub status: Box<str>,
    pub code: Option<Box<str>>,
}

pub struct Ledger {
    /// The name of the run, which is part of its buyers' e-mail addresses.
    run: String,
    pub requests: Vec<Request>,
    tickets: HashMap<Uuid, usize>,
    ends: Vec<Unsold>,
    /// When instances other than the first reported the outcome, by request and instance.
    reported_elsewhere: HashMap<(usize, u16), u64>,
    /// The time of the last response.
    pub latest: u64,
    /// Status reads that had to be final, because a final status had been reported before.
    pub read_again: ReadAgain,
    /// Violations that were found in the responses themselves.
    pub violations: Violations,
    /// Whether the journal has an end entry. Without it, requests may be missing.
    pub is_complete: bool,
}

impl Ledger {
    pub fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            requests: Vec::new(),
            tickets: HashMap::new(),
            ends: Vec::new(),
            reported_elsewhere: HashMap::new(),
            latest: 0,
            read_again: ReadAgain::default(),
            violations: Violations::default(),
            is_complete: false,
        }
    }

    pub fn enter(&mut self, entry: Entry) {
        match entry {
            Entry::Run(_) => {}
            Entry::Asked(asked) => self.asked(asked),
            Entry::Told { ticket, outcome, read } => {
                self.told(ticket, &outcome, read);
            }
            Entry::Unsettled { ticket, status, read } => {
                self.unsettled(ticket, &status, read);
            }
            Entry::End { .. } => self.is_complete = true,
        }
    }

    pub fn asked(&mut self, asked: Asked) {
        let Asked { wish, answer, due, took } = asked;
        let (number, ticket) = (self.requests.len(), answer.ticket());
        if let Some(ticket) = ticket
            && self.tickets.insert(ticket, number).is_some()
        {
            self.violations.add(Rule::OneTicketEach, format!("ticket {ticket} was issued twice"));
        }
        let is_doubtful = answer.is_doubtful();
        self.requests.push(Request { wish, is_doubtful, ticket, end: None, reported: None });
        // Bookings are sent to instance 0. `due` is when the request was sent, or earlier.
        let read = StatusRead { instance: 0, sent: due, took };
        self.latest = self.latest.max(read.received());
        if let Some(outcome) = answer.outcome() {
            self.ends_as(number, &outcome);
            self.reported(number, read);
        }
    }

    /// The outcome of the ticket, if it is known.
    pub fn end_of(&self, ticket: Uuid) -> Option<End> {
        self.requests[*self.tickets.get(&ticket)?].end
    }

    pub fn unsold(&self, end: u16) -> &Unsold {
        &self.ends[usize::from(end)]
    }

    /// The request of this ticket.
    pub fn request(&self, ticket: Uuid) -> Option<&Request> {
        Some(&self.requests[*self.tickets.get(&ticket)?])
    }

    /// Whether the ticket must become final. A ticket returned with a 503 need not, because it may not have been
    /// accepted.
    pub fn is_promised(&self, ticket: Uuid) -> bool {
        self.request(ticket).is_some_and(|request| !request.is_doubtful)
    }

    /// The issued tickets, in order.
    pub fn tickets(&self) -> Vec<Uuid> {
        self.requests.iter().filter_map(|request| request.ticket).collect()
    }

    fn ends_as(&mut self, number: usize, outcome: &Outcome) -> bool {
        let end = self.end(outcome);
        if let Some(sale) = &outcome.sale {
            self.compare(number, sale);
        } else if outcome.is_confirmed() {
            let what = format!("{} is confirmed without a booking", self.name(number));
            self.violations.add(Rule::JustWhatWasAsked, what);
        }
        match self.requests[number].end.replace(end) {
            None => true,
            Some(before) if before.is(end) => {
                // Keep the first report that includes the time of settlement.
                if before.settled_at().is_some() {
                    self.requests[number].end = Some(before);
                }
                before.settled_at().is_none() && end.settled_at().is_some()
            }
            Some(before) => {
                let (before, after) = (self.describe(before), self.describe(end));
                let what = format!("{} was {before}, and then {after}", self.name(number));
                self.violations.add(Rule::NeverChanges, what);
                true
            }
        }
    }

    fn end(&mut self, outcome: &Outcome) -> End {
        let settled_at = outcome.settled_at;
        match &outcome.sale {
            Some(sale) if outcome.is_confirmed() => End::Sold { sale: sale.id, settled_at },
            _ => {
                let unsold = Unsold { status: outcome.status.clone(), code: outcome.code.clone() };
                let known = self.ends.iter().position(|end| *end == unsold);
                let end = known.unwrap_or_else(|| {
                    self.ends.push(unsold);
                    self.ends.len() - 1
                });
                End::Unsold { end: u16::try_from(end).unwrap_or(u16::MAX), settled_at }
            }
        }
    }

    /// Checks that a booking is what its buyer requested.
    fn compare(&mut self, number: usize, sale: &Sale) {
        let wish = &self.requests[number].wish;
        let asked = email(&self.run, wish.buyer);
        if sale.seats != wish.seats || *sale.email != *asked {
            let what = format!(
                "{} requested seats {:?} for {asked}, but got {:?} for {}",
                self.name(number),
                wish.seats,
                sale.seats,
                sale.email
            );
            self.violations.add(Rule::JustWhatWasAsked, what);
        }
    }

    pub fn name(&self, number: usize) -> String {
        let request = &self.requests[number];
        match request.ticket {
            Some(ticket) => format!("ticket {ticket} of buyer {}", request.wish.buyer),
            None => format!("a request of buyer {}", request.wish.buyer),
        }
    }

    pub fn describe(&self, end: End) -> String {
        match end {
            End::Sold { sale, .. } => format!("confirmed as booking {sale}"),
            End::Unsold { end, .. } => {
                let Unsold { status, code } = self.unsold(end);
                code.as_ref().map_or_else(|| status.to_string(), |code| format!("{status} ({code})"))
            }
        }
    }
}
