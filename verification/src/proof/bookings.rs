//! Rules for the rows of `bookings`: each belongs to a request, matches the responses, and was decided in time.

use std::collections::HashMap;

use hamro_shared::domain::TicketId;
use uuid::Uuid;

use super::context::{BuyerRequests, CheckContext};
use super::refusals::StoredRefusal;
use super::stored::BookingRow;
use crate::contract::{Target, names_taken_seats};
use crate::invariant::{Invariant, Violations};
use crate::request_log::{RecordedOutcome, Request};

/// The comparison of the rows with the requests, one row after the other.
#[derive(Default)]
pub(super) struct BookingCheck {
    /// Whether the ticket of each request has a row.
    has_row: Vec<bool>,
    /// The rows of each buyer.
    rows: HashMap<u64, BuyerRows>,
    /// The first outcome that each key holds.
    by_key: HashMap<(u64, u32), Decided>,
    /// Rows without a customer whose tickets no client knows.
    fenced: u32,
    /// Rejections because of taken seats that no client has received.
    refusals: Vec<StoredRefusal>,
}

#[derive(Clone, Copy, Default)]
struct BuyerRows {
    all: u32,
    /// Rows whose tickets no client knows.
    unknown: u32,
}

/// An outcome that an idempotency key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Decided {
    sale: Option<i64>,
    code: Option<String>,
}

impl BookingCheck {
    pub fn add(&mut self, context: CheckContext<'_>, row: &BookingRow, violations: &mut Violations) {
        let number = context.request_log.number_of(row.ticket);
        let request = number.map(|number| &context.request_log.requests[number]);
        if let Some(number) = number {
            self.has_row.resize(context.request_log.requests.len(), false);
            self.has_row[number] = true;
        }
        if let Some(outcome) = request.and_then(|request| request.outcome) {
            compare_outcome(context, row, outcome, violations);
        }
        let Some(email) = &row.email else {
            self.fenced += u32::from(request.is_none());
            return;
        };
        let Some(buyer) = context.buyer(email) else {
            let is_expected = context.facts.other_customers.contains(email);
            if request.is_some() || context.facts.is_only_user && !is_expected {
                let what =
                    format!("ticket {} is {} for {email}, who requested nothing", row.ticket, row.status);
                violations.add(Invariant::OnlyWhatWasRequested, what);
            }
            return;
        };
        let rows = self.rows.entry(buyer).or_default();
        rows.all += 1;
        rows.unknown += u32::from(request.is_none());
        if let Some(other) = request.filter(|request| request.intent.buyer != buyer) {
            let what =
                format!("ticket {} of buyer {} is stored for buyer {buyer}", row.ticket, other.intent.buyer);
            violations.add(Invariant::OnlyWhatWasRequested, what);
        }
        let requests = context.requests_of(buyer);
        check_deadline(context, row, request, requests, violations);
        let key = request.map_or(requests.only_key(), |request| request.intent.key).map(|key| (buyer, key));
        if let Some(key) = key {
            self.check_key(key, row, violations);
        }
        let is_received = request.is_some_and(|request| request.outcome.is_some());
        if !is_received && row.code.as_deref().is_some_and(names_taken_seats) {
            self.refusals.push(StoredRefusal::of(row, key));
        }
    }

    /// Only a sale or a rejection because of taken seats holds its key. After any other outcome, the next attempt is a new
    /// booking.
    fn check_key(&mut self, key: (u64, u32), row: &BookingRow, violations: &mut Violations) {
        let holds_key = row.status == "confirmed" || row.code.as_deref().is_some_and(names_taken_seats);
        if !holds_key {
            return;
        }
        let decided = Decided { sale: row.sale, code: row.code.clone() };
        let first = self.by_key.entry(key).or_insert_with(|| decided.clone());
        if *first != decided {
            let what = format!("key {} of buyer {} has the outcomes {first:?} and {decided:?}", key.1, key.0);
            violations.add(Invariant::OneOutcomePerKey, what);
        }
    }

    /// Checks what can only be known after the last row. Returns the rejections because of taken seats that no client
    /// has received.
    pub fn finish(mut self, context: CheckContext<'_>, violations: &mut Violations) -> Vec<StoredRefusal> {
        let requests = &context.request_log.requests;
        self.has_row.resize(requests.len(), false);
        for (number, request) in requests.iter().enumerate() {
            // A request that is rejected without being queued has no ticket and no row.
            if request.ticket.is_some() && request.outcome.is_some() && !self.has_row[number] {
                let what =
                    format!("{} is final, but has no row for its buyer", context.request_log.name(number));
                violations.add(Invariant::DatabaseAgrees, what);
            }
        }
        for (buyer, rows) in &self.rows {
            check_buyer(context, *buyer, *rows, violations);
        }
        let may_be_fenced = requests.iter().filter(|request| {
            request.target == Target::Sync && request.is_ambiguous && request.ticket.is_none()
        });
        // Others may have fenced tickets of their own.
        if context.facts.is_only_user && self.fenced as usize > may_be_fenced.count() {
            let what = format!("{} fenced tickets belong to no request", self.fenced);
            violations.add(Invariant::OnlyWhatWasRequested, what);
        }
        self.refusals
    }
}

fn check_buyer(context: CheckContext<'_>, buyer: u64, rows: BuyerRows, violations: &mut Violations) {
    // An incomplete journal may lack requests.
    if !context.request_log.is_complete {
        return;
    }
    let BuyerRequests { attempts, under_unknown_ticket, .. } = context.requests_of(buyer);
    if rows.unknown > under_unknown_ticket {
        let what = format!(
            "buyer {buyer} has {} outcomes under unknown tickets, but {under_unknown_ticket} attempts that may have had an \
             effect under one",
            rows.unknown
        );
        violations.add(Invariant::OnlyWhatWasRequested, what);
    }
    if rows.all > attempts {
        let what = format!("buyer {buyer} made {attempts} attempts and has {} outcomes", rows.all);
        violations.add(Invariant::OneEffectPerAttempt, what);
    }
}

fn compare_outcome(
    context: CheckContext<'_>,
    row: &BookingRow,
    outcome: RecordedOutcome,
    violations: &mut Violations,
) {
    let agrees = match outcome {
        RecordedOutcome::Sold { sale, .. } => row.status == "confirmed" && row.sale == Some(sale),
        RecordedOutcome::NotSold { kind, .. } => {
            let not_sold = context.request_log.not_sold(kind);
            // The earlier system has no problem codes.
            let code = not_sold.code.as_deref().filter(|code| !code.starts_with("http-"));
            let same_code = code.is_none() || row.status != "rejected" || row.code.as_deref() == code;
            row.status == *not_sold.status && same_code
        }
    };
    if !agrees {
        let BookingRow { ticket, status, sale, code, .. } = row;
        let reported = context.request_log.describe(outcome);
        let what = format!(
            "ticket {ticket} was reported as {reported}, but the database has it as {status}, sale {sale:?}, code {code:?}"
        );
        violations.add(Invariant::DatabaseAgrees, what);
    }
}

fn check_deadline(
    context: CheckContext<'_>,
    row: &BookingRow,
    request: Option<&Request>,
    requests: BuyerRequests,
    violations: &mut Violations,
) {
    let target = request.map_or(requests.only_target(), |request| Some(request.target));
    let (Some(deadlines), Some(target)) = (context.facts.deadlines, target) else { return };
    let deadline = (TicketId(row.ticket).issued_at() + deadlines.of(target)).unix_millis();
    let is_late = row.settled_at > deadline;
    let what = match row.status.as_str() {
        "confirmed" | "rejected" if is_late => was(row.ticket, &row.status, "after its deadline"),
        "expired" if !is_late => was(row.ticket, "expired", "before its deadline"),
        _ => return,
    };
    violations.add(Invariant::DeadlinesHold, what);
}

fn was(ticket: Uuid, status: &str, when: &str) -> String {
    format!("ticket {ticket} was {status} {when}")
}
