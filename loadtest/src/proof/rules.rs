//! Rules for the responses themselves.

use std::collections::{HashMap, HashSet};

use super::Proof;
use crate::journal::Header;
use crate::ledger::{End, Ledger, Request};
use crate::violation::{Rule, Violations};

/// Compares the responses with each other.
pub(super) fn check(ledger: &Ledger, header: &Header) -> Proof {
    let mut violations = ledger.violations.clone();
    let sold = sold_seats(ledger, &mut violations);
    every_ticket_ends(ledger, &mut violations);
    one_key_one_booking(ledger, &mut violations);
    no_free_seat_refused(ledger, header, &sold, &mut violations);
    let mut remarks = Vec::new();
    if !ledger.is_complete {
        remarks.push("the journal has no end: it may not contain all requests".to_owned());
    }
    let requests = &ledger.requests;
    let counted =
        |test: &dyn Fn(&Request) -> bool| requests.iter().filter(|request| test(request)).count() as u64;
    let ended_as = |status: &str| counted(&|request| status_of(ledger, request) == Some(status));
    let doubtful = counted(&|request| request.is_doubtful && request.end.is_none());
    if doubtful > 0 {
        remarks.push(format!("{doubtful} requests have no response that shows whether they had an effect"));
    }
    Proof {
        requests: requests.len() as u64,
        tickets: counted(&|request| request.ticket.is_some()),
        confirmed: ended_as("confirmed"),
        rejected: ended_as("rejected"),
        expired: ended_as("expired"),
        failed: ended_as("failed"),
        doubtful,
        seats_sold: sold.len() as u64,
        seats: header.concerts.iter().map(|concert| concert.seats as u64).sum(),
        read_again: ledger.read_again.same_instance,
        read_again_elsewhere: ledger.read_again.other_instance,
        by_sql: false,
        violations,
        remarks,
    }
}

fn status_of<'a>(ledger: &'a Ledger, request: &Request) -> Option<&'a str> {
    match request.end? {
        End::Sold { .. } => Some("confirmed"),
        End::Unsold { end, .. } => Some(&ledger.unsold(end).status),
    }
}

/// The confirmed seats, each with its booking.
pub(super) fn sold_seats(ledger: &Ledger, violations: &mut Violations) -> HashMap<i32, i64> {
    let mut sold = HashMap::new();
    for (number, request) in ledger.requests.iter().enumerate() {
        let Some(End::Sold { sale, .. }) = request.end else { continue };
        for seat in &request.wish.seats {
            // Retries under one key share a booking and its seats.
            if let Some(other) = sold.insert(*seat, sale)
                && other != sale
            {
                let what = format!(
                    "seat {seat} is in bookings {other} and {sale}, according to {}",
                    ledger.name(number)
                );
                violations.add(Rule::NoSeatTwice, what);
            }
        }
    }
    sold
}

/// Every accepted ticket must be final. A ticket returned with a 503 need not, because it may not have been accepted.
fn every_ticket_ends(ledger: &Ledger, violations: &mut Violations) {
    for (number, request) in ledger.requests.iter().enumerate() {
        if request.ticket.is_some() && request.end.is_none() && !request.is_doubtful {
            violations.add(Rule::EveryTicketEnds, format!("{} is not final", ledger.name(number)));
        }
    }
}

fn one_key_one_booking(ledger: &Ledger, violations: &mut Violations) {
    let mut of_key = HashMap::new();
    let mut key_of = HashMap::new();
    for (number, request) in ledger.requests.iter().enumerate() {
        let Some(End::Sold { sale, .. }) = request.end else { continue };
        // Without a key, every request is a separate booking.
        let key = request
            .wish
            .key
            .map_or((request.wish.buyer, None, number), |key| (request.wish.buyer, Some(key), 0));
        let first = *of_key.entry(key).or_insert(sale);
        if first != sale {
            let what = format!(
                "{} is confirmed as booking {sale}, but another request under its key as {first}",
                ledger.name(number)
            );
            violations.add(Rule::OneKeyOneBooking, what);
        }
        if *key_of.entry(sale).or_insert(key) != key {
            let what =
                format!("{} shares booking {sale} with a request under another key", ledger.name(number));
            violations.add(Rule::OneKeyOneBooking, what);
        }
    }
}

/// If a request was rejected because of taken seats, at least one of them must be sold. Seats are never released, so
/// this also holds at the end.
fn no_free_seat_refused(
    ledger: &Ledger,
    header: &Header,
    sold: &HashMap<i32, i64>,
    violations: &mut Violations,
) {
    let before: HashSet<i32> =
        header.concerts.iter().flat_map(|concert| &concert.sold_before).copied().collect();
    // A request without a response may have bought its seats. So may other buyers, in which case nothing can be
    // checked.
    let in_doubt: HashSet<i32> = ledger
        .requests
        .iter()
        .filter(|r| r.is_doubtful && r.end.is_none())
        .flat_map(|r| &r.wish.seats)
        .copied()
        .collect();
    if !header.own || !ledger.is_complete {
        return;
    }
    for (number, request) in ledger.requests.iter().enumerate() {
        let Some(End::Unsold { end, .. }) = request.end else { continue };
        let code = ledger.unsold(end).code.as_deref();
        let is_taken =
            |seat: &i32| sold.contains_key(seat) || before.contains(seat) || in_doubt.contains(seat);
        if matches!(code, Some("seats-taken" | "sold-out" | "http-409"))
            && !request.wish.seats.iter().any(is_taken)
        {
            let what = format!(
                "{} was refused seats {:?}, but none of them is sold",
                ledger.name(number),
                request.wish.seats
            );
            violations.add(Rule::NoFreeSeatRefused, what);
        }
    }
}
