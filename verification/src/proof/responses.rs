//! Rules for the responses themselves.

use std::collections::HashMap;

use super::context::{CheckContext, RunFacts};
use super::{Proof, refusals};
use crate::invariant::{Invariant, Violations};
use crate::request_log::{RecordedOutcome, Request, RequestLog};

/// Compares the responses with each other.
pub(super) fn check(context: CheckContext<'_>) -> Proof {
    let CheckContext { request_log, header, facts, .. } = context;
    let mut violations = request_log.violations.clone();
    let sold = sold_seats(request_log, facts, &mut violations);
    every_ticket_ends(request_log, &mut violations);
    one_booking_per_key(request_log, &mut violations);
    one_outcome_per_key(request_log, &mut violations);
    refusals::compare_with_responses(context, &sold, &mut violations);
    let mut remarks = Vec::new();
    if !request_log.is_complete {
        remarks.push("the journal has no end: it may not contain all requests".to_owned());
    }
    let requests = &request_log.requests;
    let counted =
        |test: &dyn Fn(&Request) -> bool| requests.iter().filter(|request| test(request)).count() as u64;
    let count_of = |status: &str| counted(&|request| status_of(request_log, request) == Some(status));
    let ambiguous = counted(&Request::may_have_effect);
    if ambiguous > 0 {
        remarks.push(format!("{ambiguous} requests have no response that shows whether they had an effect"));
    }
    Proof {
        requests: requests.len() as u64,
        tickets: counted(&|request| request.ticket.is_some()),
        confirmed: count_of("confirmed"),
        rejected: count_of("rejected"),
        expired: count_of("expired"),
        failed: count_of("failed"),
        ambiguous,
        seats_sold: sold.len() as u64,
        seats: header.concerts.iter().map(|concert| concert.seats as u64).sum(),
        read_again: request_log.read_again.same_instance,
        read_again_elsewhere: request_log.read_again.other_instance,
        by_sql: false,
        violations,
        remarks,
    }
}

fn status_of<'a>(request_log: &'a RequestLog, request: &Request) -> Option<&'a str> {
    match request.outcome? {
        RecordedOutcome::Sold { .. } => Some("confirmed"),
        RecordedOutcome::NotSold { kind, .. } => Some(&request_log.not_sold(kind).status),
    }
}

/// The confirmed seats, each with its booking.
pub(super) fn sold_seats(
    request_log: &RequestLog,
    facts: &RunFacts,
    violations: &mut Violations,
) -> HashMap<i32, i64> {
    let mut sold = HashMap::new();
    for (number, request) in request_log.requests.iter().enumerate() {
        let Some(RecordedOutcome::Sold { sale, .. }) = request.outcome else { continue };
        for seat in &request.intent.seats {
            // Retries under one key share a booking and its seats.
            if let Some(other) = sold.insert(*seat, sale)
                && other != sale
                && !facts.released_seats.contains(seat)
            {
                let what = format!(
                    "seat {seat} is in bookings {other} and {sale}, according to {}",
                    request_log.name(number)
                );
                violations.add(Invariant::NoSeatSoldTwice, what);
            }
        }
    }
    sold
}

/// Every accepted ticket must be final. A ticket returned with a 503 need not, because it may not have been accepted.
fn every_ticket_ends(request_log: &RequestLog, violations: &mut Violations) {
    for (number, request) in request_log.requests.iter().enumerate() {
        if request.ticket.is_some() && request.outcome.is_none() && !request.is_ambiguous {
            violations.add(Invariant::EveryTicketEnds, format!("{} is not final", request_log.name(number)));
        }
    }
}

fn one_booking_per_key(request_log: &RequestLog, violations: &mut Violations) {
    let mut of_key = HashMap::new();
    let mut key_of = HashMap::new();
    for (number, request) in request_log.requests.iter().enumerate() {
        let Some(RecordedOutcome::Sold { sale, .. }) = request.outcome else { continue };
        // Without a key, every request is a separate booking.
        let key = request
            .intent
            .key
            .map_or((request.intent.buyer, None, number), |key| (request.intent.buyer, Some(key), 0));
        let first = *of_key.entry(key).or_insert(sale);
        if first != sale {
            let what = format!(
                "{} is confirmed as booking {sale}, but another request under its key as {first}",
                request_log.name(number)
            );
            violations.add(Invariant::OneOutcomePerKey, what);
        }
        if *key_of.entry(sale).or_insert(key) != key {
            let what = format!(
                "{} shares booking {sale} with a request under another key",
                request_log.name(number)
            );
            violations.add(Invariant::OneOutcomePerKey, what);
        }
    }
}

/// Retries under a key share the rejection of the first attempt too. An expired or failed booking does not hold its key,
/// nor does a request that is rejected without a ticket, or one that reuses the key for other seats.
fn one_outcome_per_key(request_log: &RequestLog, violations: &mut Violations) {
    let mut of_key: HashMap<(u64, u32), RecordedOutcome> = HashMap::new();
    for (number, request) in request_log.requests.iter().enumerate() {
        let (Some(key), Some(_), Some(outcome)) = (request.key(), request.ticket, request.outcome) else {
            continue;
        };
        if let RecordedOutcome::NotSold { kind, .. } = outcome {
            let not_sold = request_log.not_sold(kind);
            let reuses_key = not_sold.code.as_deref() == Some("idempotency-key-reused");
            if *not_sold.status != *"rejected" || reuses_key {
                continue;
            }
        }
        let first = *of_key.entry(key).or_insert(outcome);
        let both_sold =
            matches!((first, outcome), (RecordedOutcome::Sold { .. }, RecordedOutcome::Sold { .. }));
        // Two bookings under one key are reported by `one_booking_per_key`.
        if !both_sold && !first.is(outcome) {
            let what = format!(
                "{} is {}, but another request under its key is {}",
                request_log.name(number),
                request_log.describe(outcome),
                request_log.describe(first)
            );
            violations.add(Invariant::OneOutcomePerKey, what);
        }
    }
}
