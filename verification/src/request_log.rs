//! All requests and responses, compact enough for millions. Filled during a run or from its journal.

mod refusals;
mod status_reads;

use std::collections::HashMap;

use uuid::Uuid;

use crate::contract::{BookingIntent, Outcome, Sale, Target, email};
use crate::invariant::{Invariant, Violations};
use crate::journal::{ClockReading, Entry, RequestRecord};
use crate::status_read::{Report, StatusRead};

pub use refusals::Refusal;
use refusals::Refusals;
pub use status_reads::{ReadAgain, UNKNOWN};

/// A request.
pub struct Request {
    pub intent: BookingIntent,
    pub target: Target,
    /// When it was sent, or earlier: in microseconds since the start of the journal.
    pub sent: u64,
    /// Whether it may have had an effect that no response reports.
    pub is_ambiguous: bool,
    pub ticket: Option<Uuid>,
    /// The outcome, from its ticket or from its own response.
    pub outcome: Option<RecordedOutcome>,
    /// The first report of the outcome.
    reported: Option<Report>,
}

impl Request {
    /// When a client first received the outcome.
    pub fn reported_at(&self) -> Option<u64> {
        self.reported.map(|report| report.received)
    }

    /// Whether it may have had an effect, and no response reports an outcome.
    pub fn may_have_effect(&self) -> bool {
        self.is_ambiguous && self.outcome.is_none()
    }

    /// The buyer and the number of its idempotency key.
    pub fn key(&self) -> Option<(u64, u32)> {
        Some((self.intent.buyer, self.intent.key?))
    }
}

/// The outcome of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedOutcome {
    Sold {
        sale: i64,
        settled_at: Option<i64>,
    },
    /// `kind` identifies the status and the problem code: see [`RequestLog::not_sold`].
    NotSold {
        kind: u16,
        settled_at: Option<i64>,
    },
}

impl RecordedOutcome {
    pub fn settled_at(self) -> Option<i64> {
        match self {
            Self::Sold { settled_at, .. } | Self::NotSold { settled_at, .. } => settled_at,
        }
    }

    /// Whether both are the same outcome. The time is ignored, because the waiting endpoint does not report it.
    pub fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Sold { sale: a, .. }, Self::Sold { sale: b, .. }) => a == b,
            (Self::NotSold { kind: a, .. }, Self::NotSold { kind: b, .. }) => a == b,
            _ => false,
        }
    }
}

/// A final status without a sale, and its problem code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSold {
    pub status: Box<str>,
    pub code: Option<Box<str>>,
}

pub struct RequestLog {
    /// The name of the run, which is part of its buyers' e-mail addresses.
    run: String,
    pub requests: Vec<Request>,
    tickets: HashMap<Uuid, usize>,
    not_sold: Vec<NotSold>,
    refusals: Refusals,
    /// Readings of the database's clock.
    pub clock_readings: Vec<ClockReading>,
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

impl RequestLog {
    pub fn new(run: &str) -> Self {
        Self {
            run: run.to_owned(),
            requests: Vec::new(),
            tickets: HashMap::new(),
            not_sold: Vec::new(),
            refusals: Refusals::default(),
            clock_readings: Vec::new(),
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
            Entry::Request(record) => self.record_request(record),
            Entry::Final { ticket, outcome, read } => {
                self.record_status(ticket, &outcome, read);
            }
            Entry::Unsettled { ticket, status, read } => {
                self.record_not_final(ticket, &status, read);
            }
            Entry::Clock(reading) => self.clock_readings.push(reading),
            Entry::End { .. } => self.is_complete = true,
        }
    }

    pub fn record_request(&mut self, record: RequestRecord) {
        let RequestRecord { intent, instance, target, response, due, took } = record;
        let (number, ticket) = (self.requests.len(), response.ticket());
        if let Some(ticket) = ticket
            && self.tickets.insert(ticket, number).is_some()
        {
            self.violations.add(Invariant::TicketsAreUnique, format!("ticket {ticket} was issued twice"));
        }
        let is_ambiguous = response.is_ambiguous();
        let (sent, outcome, reported) = (due, None, None);
        self.requests.push(Request { intent, target, sent, is_ambiguous, ticket, outcome, reported });
        let read = StatusRead { instance, sent: due, took };
        self.latest = self.latest.max(read.received());
        if let Some(outcome) = response.outcome() {
            self.record_outcome(number, &outcome);
            self.record_report(number, read);
        }
    }

    /// The outcome of the ticket, if it is known.
    pub fn outcome_of(&self, ticket: Uuid) -> Option<RecordedOutcome> {
        self.request(ticket)?.outcome
    }

    pub fn not_sold(&self, kind: u16) -> &NotSold {
        &self.not_sold[usize::from(kind)]
    }

    /// The request of this ticket.
    pub fn request(&self, ticket: Uuid) -> Option<&Request> {
        Some(&self.requests[self.number_of(ticket)?])
    }

    /// The number of the request of this ticket.
    pub fn number_of(&self, ticket: Uuid) -> Option<usize> {
        self.tickets.get(&ticket).copied()
    }

    /// The name of the run, which is part of its buyers' e-mail addresses.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// The requests that were refused because of taken seats, each with the seats that the refusal names.
    pub fn refusals(&self) -> impl Iterator<Item = Refusal<'_>> {
        self.refusals.iter(&self.requests)
    }

    /// Whether the ticket must become final. A ticket returned with a 503 need not, because it may not have been
    /// accepted.
    pub fn must_become_final(&self, ticket: Uuid) -> bool {
        self.request(ticket).is_some_and(|request| !request.is_ambiguous)
    }

    /// The issued tickets, in order.
    pub fn tickets(&self) -> Vec<Uuid> {
        self.requests.iter().filter_map(|request| request.ticket).collect()
    }

    /// Records an outcome. Returns whether it is new or different.
    fn record_outcome(&mut self, number: usize, outcome: &Outcome) -> bool {
        let recorded = self.compact(outcome);
        if let Some(sale) = &outcome.sale {
            self.compare(number, sale);
        } else if outcome.is_confirmed() {
            let what = format!("{} is confirmed without a booking", self.name(number));
            self.violations.add(Invariant::OnlyWhatWasRequested, what);
        }
        match self.requests[number].outcome.replace(recorded) {
            None => {
                self.record_refusal(number, &outcome.taken);
                true
            }
            Some(before) if before.is(recorded) => {
                // Keep the first report that includes the time of settlement.
                if before.settled_at().is_some() {
                    self.requests[number].outcome = Some(before);
                }
                before.settled_at().is_none() && recorded.settled_at().is_some()
            }
            Some(before) => {
                let (before, after) = (self.describe(before), self.describe(recorded));
                let what = format!("{} was {before}, and then {after}", self.name(number));
                self.violations.add(Invariant::FinalStatusNeverChanges, what);
                true
            }
        }
    }

    fn compact(&mut self, outcome: &Outcome) -> RecordedOutcome {
        let settled_at = outcome.settled_at;
        match &outcome.sale {
            Some(sale) if outcome.is_confirmed() => RecordedOutcome::Sold { sale: sale.id, settled_at },
            _ => {
                let not_sold = NotSold { status: outcome.status.clone(), code: outcome.code.clone() };
                let known = self.not_sold.iter().position(|known| *known == not_sold);
                let kind = known.unwrap_or_else(|| {
                    self.not_sold.push(not_sold);
                    self.not_sold.len() - 1
                });
                RecordedOutcome::NotSold { kind: u16::try_from(kind).unwrap_or(u16::MAX), settled_at }
            }
        }
    }

    /// Checks that a booking is what its buyer requested.
    fn compare(&mut self, number: usize, sale: &Sale) {
        let intent = &self.requests[number].intent;
        let requested_for = email(&self.run, intent.buyer);
        if sale.seats != intent.seats || *sale.email != *requested_for {
            let what = format!(
                "{} requested seats {:?} for {requested_for}, but got {:?} for {}",
                self.name(number),
                intent.seats,
                sale.seats,
                sale.email
            );
            self.violations.add(Invariant::OnlyWhatWasRequested, what);
        }
    }

    pub fn name(&self, number: usize) -> String {
        let request = &self.requests[number];
        match request.ticket {
            Some(ticket) => format!("ticket {ticket} of buyer {}", request.intent.buyer),
            None => format!("a request of buyer {}", request.intent.buyer),
        }
    }

    pub fn describe(&self, outcome: RecordedOutcome) -> String {
        match outcome {
            RecordedOutcome::Sold { sale, .. } => format!("confirmed as booking {sale}"),
            RecordedOutcome::NotSold { kind, .. } => {
                let NotSold { status, code } = self.not_sold(kind);
                code.as_ref().map_or_else(|| status.to_string(), |code| format!("{status} ({code})"))
            }
        }
    }
}
