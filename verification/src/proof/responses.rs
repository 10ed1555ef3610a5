//! Rules for the responses themselves.

use std::collections::{HashMap, HashSet};

use super::Proof;
use crate::invariant::{Invariant, Violations};
use crate::journal::Header;
use crate::request_log::{RecordedOutcome, Request, RequestLog};

/// Compares the responses with each other.
pub(super) fn check(request_log: &RequestLog, header: &Header) -> Proof {
    let mut violations = request_log.violations.clone();
    let sold = sold_seats(request_log, &mut violations);
    every_ticket_ends(request_log, &mut violations);
    one_key_one_booking(request_log, &mut violations);
    no_free_seat_refused(request_log, header, &sold, &mut violations);
    let mut remarks = Vec::new();
    if !request_log.is_complete {
        remarks.push("the journal has no end: it may not contain all requests".to_owned());
    }
    let requests = &request_log.requests;
    let counted =
        |test: &dyn Fn(&Request) -> bool| requests.iter().filter(|request| test(request)).count() as u64;
    let ended_as = |status: &str| counted(&|request| status_of(request_log, request) == Some(status));
    let ambiguous = counted(&|request| request.is_ambiguous && request.end.is_none());
    if ambiguous > 0 {
        remarks.push(format!("{ambiguous} requests have no response that shows whether they had an effect"));
    }
    Proof {
        requests: requests.len() as u64,
        tickets: counted(&|request| request.ticket.is_some()),
        confirmed: ended_as("confirmed"),
        rejected: ended_as("rejected"),
        expired: ended_as("expired"),
        failed: ended_as("failed"),
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
    match request.end? {
        RecordedOutcome::Sold { .. } => Some("confirmed"),
        RecordedOutcome::NotSold { end, .. } => Some(&request_log.not_sold(end).status),
    }
}

/// The confirmed seats, each with its booking.
pub(super) fn sold_seats(request_log: &RequestLog, violations: &mut Violations) -> HashMap<i32, i64> {
    let mut sold = HashMap::new();
    for (number, request) in request_log.requests.iter().enumerate() {
        let Some(RecordedOutcome::Sold { sale, .. }) = request.end else { continue };
        for seat in &request.intent.seats {
            // Retries under one key share a booking and its seats.
            if let Some(other) = sold.insert(*seat, sale)
                && other != sale
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
        if request.ticket.is_some() && request.end.is_none() && !request.is_ambiguous {
            violations.add(Invariant::EveryTicketEnds, format!("{} is not final", request_log.name(number)));
        }
    }
}

fn one_key_one_booking(request_log: &RequestLog, violations: &mut Violations) {
    let mut of_key = HashMap::new();
    let mut key_of = HashMap::new();
    for (number, request) in request_log.requests.iter().enumerate() {
        let Some(RecordedOutcome::Sold { sale, .. }) = request.end else { continue };
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

/// If a request was rejected because of taken seats, at least one of them must be sold. Seats are never released, so
/// this also holds at the end.
fn no_free_seat_refused(
    request_log: &RequestLog,
    header: &Header,
    sold: &HashMap<i32, i64>,
    violations: &mut Violations,
) {
    let before: HashSet<i32> =
        header.concerts.iter().flat_map(|concert| &concert.sold_before).copied().collect();
    // A request without a response may have bought its seats. So may other buyers, in which case nothing can be
    // checked.
    let may_be_sold: HashSet<i32> = request_log
        .requests
        .iter()
        .filter(|r| r.is_ambiguous && r.end.is_none())
        .flat_map(|r| &r.intent.seats)
        .copied()
        .collect();
    if !header.is_exclusive || !request_log.is_complete {
        return;
    }
    for (number, request) in request_log.requests.iter().enumerate() {
        let Some(RecordedOutcome::NotSold { end, .. }) = request.end else { continue };
        let code = request_log.not_sold(end).code.as_deref();
        let is_taken =
            |seat: &i32| sold.contains_key(seat) || before.contains(seat) || may_be_sold.contains(seat);
        if matches!(code, Some("seats-taken" | "sold-out" | "http-409"))
            && !request.intent.seats.iter().any(is_taken)
        {
            let what = format!(
                "{} was refused seats {:?}, but none of them is sold",
                request_log.name(number),
                request.intent.seats
            );
            violations.add(Invariant::NoFreeSeatRefused, what);
        }
    }
}
