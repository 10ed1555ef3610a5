//! Verifies the journals of several load generators together, as one sale.
//!
//! Each journal is verified by itself first. What remains is what only all of them show: a seat that was sold to two of
//! them, a ticket or a booking that two of them received, and, if nobody else booked the concerts, a sold seat that none
//! of them has bought.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result};
use uuid::Uuid;

use super::Proof;
use super::catalogue::{OTHER_BUYERS, compare_tiers};
use crate::catalogue::{Seat, seat_map, tiers, wait_until_current};
use crate::http::Client;
use crate::invariant::{Invariant, Violations};
use crate::journal::{Concert, Header};
use crate::request_log::{RecordedOutcome, RequestLog};

/// What the journals are compared by.
#[derive(Clone, Debug, Default)]
pub struct JournalFacts {
    run: String,
    concerts: Vec<Concert>,
    is_complete: bool,
    tickets: Vec<Uuid>,
    /// The sold seats, each with its booking.
    sold: Vec<(i32, i64)>,
    /// Seats of requests that may have had an effect that no response reports.
    may_be_sold: HashSet<i32>,
    /// The seats of each request that was rejected because they were taken.
    refused: Vec<Box<[i32]>>,
}

impl JournalFacts {
    pub fn of(header: &Header, request_log: &RequestLog) -> Self {
        let mut facts = Self {
            run: header.name.clone(),
            concerts: header.concerts.clone(),
            is_complete: request_log.is_complete,
            tickets: request_log.tickets(),
            ..Self::default()
        };
        for request in &request_log.requests {
            let seats = &request.intent.seats;
            match request.outcome {
                Some(RecordedOutcome::Sold { sale, .. }) => {
                    facts.sold.extend(seats.iter().map(|seat| (*seat, sale)));
                }
                Some(RecordedOutcome::NotSold { kind, .. }) => {
                    let code = request_log.not_sold(kind).code.as_deref();
                    if matches!(code, Some("seats-taken" | "sold-out" | "http-409")) {
                        facts.refused.push(seats.clone());
                    }
                }
                None if request.is_ambiguous => facts.may_be_sold.extend(seats),
                None => {}
            }
        }
        facts
    }
}

/// Adds the proofs of the journals, and what only all of them show. `is_exclusive`: nobody else booked these concerts.
pub async fn join(journals: &[(JournalFacts, Proof)], client: &Client, is_exclusive: bool) -> Proof {
    let facts: Vec<&JournalFacts> = journals.iter().map(|(facts, _)| facts).collect();
    let mut joint = sum(journals.iter().map(|(_, proof)| proof));
    joint.seats = distinct_concerts(&facts).values().map(|concert| concert.seats as u64).sum();
    let sold = compare_journals(&facts, &mut joint.violations);
    joint.seats_sold = sold.len() as u64;
    if !is_exclusive {
        return joint;
    }
    if let Some(incomplete) = facts.iter().find(|facts| !facts.is_complete) {
        joint.remarks.push(format!(
            "the journal of run {} has no end, so its buyers may have bought seats that it does not contain",
            incomplete.run
        ));
        return joint;
    }
    joint.remarks.retain(|remark| remark != OTHER_BUYERS);
    if let Err(error) = compare_catalogue(&facts, &sold, client, &mut joint).await {
        joint.violations.add(Invariant::SeatMapAgrees, format!("the catalogue cannot be read: {error:#}"));
    }
    joint
}

/// The sum of several proofs. The numbers of seats are those of distinct concerts, which the caller knows.
pub fn sum<'a>(proofs: impl IntoIterator<Item = &'a Proof>) -> Proof {
    let mut sum = Proof { by_sql: true, ..Proof::default() };
    for proof in proofs {
        sum.requests += proof.requests;
        sum.tickets += proof.tickets;
        sum.confirmed += proof.confirmed;
        sum.rejected += proof.rejected;
        sum.expired += proof.expired;
        sum.failed += proof.failed;
        sum.ambiguous += proof.ambiguous;
        sum.seats_sold += proof.seats_sold;
        sum.read_again += proof.read_again;
        sum.read_again_elsewhere += proof.read_again_elsewhere;
        sum.by_sql &= proof.by_sql;
        sum.violations.extend(proof.violations.clone());
        for remark in &proof.remarks {
            if !sum.remarks.contains(remark) {
                sum.remarks.push(remark.clone());
            }
        }
    }
    sum
}

fn distinct_concerts<'a>(facts: &[&'a JournalFacts]) -> HashMap<Uuid, &'a Concert> {
    facts.iter().flat_map(|facts| &facts.concerts).map(|concert| (concert.id, concert)).collect()
}

/// Finds what two journals contradict each other in. Returns the sold seats, each with its booking.
fn compare_journals(facts: &[&JournalFacts], violations: &mut Violations) -> HashMap<i32, i64> {
    let mut sold: HashMap<i32, (&str, i64)> = HashMap::new();
    let mut run_of_sale: HashMap<i64, &str> = HashMap::new();
    let mut run_of_ticket: HashMap<Uuid, &str> = HashMap::new();
    for JournalFacts { run, sold: sold_here, tickets, .. } in facts {
        for &(seat, sale) in sold_here {
            let (other_run, other) = *sold.entry(seat).or_insert((run, sale));
            // Two bookings of one run are found in its own journal.
            if other_run != run {
                let what = format!(
                    "seat {seat} is in booking {other} of run {other_run} and in booking {sale} of run {run}"
                );
                violations.add(Invariant::NoSeatSoldTwice, what);
            } else if *run_of_sale.entry(sale).or_insert(run) != run {
                let what =
                    format!("booking {sale} of run {run} is also a booking of run {}", run_of_sale[&sale]);
                violations.add(Invariant::OneOutcomePerKey, what);
            }
        }
        for &ticket in tickets {
            let other = *run_of_ticket.entry(ticket).or_insert(run);
            if other != run {
                violations.add(
                    Invariant::TicketsAreUnique,
                    format!("ticket {ticket} was issued to run {other} and to run {run}"),
                );
            }
        }
    }
    sold.into_iter().map(|(seat, (_, sale))| (seat, sale)).collect()
}

/// Checks that every sold seat is in one of the journals, and that no free seat was refused.
async fn compare_catalogue(
    facts: &[&JournalFacts],
    sold: &HashMap<i32, i64>,
    client: &Client,
    joint: &mut Proof,
) -> Result<()> {
    let sold_before = sold_before_all(facts);
    let is_known = |seat: i32| {
        sold.contains_key(&seat)
            || sold_before.contains(&seat)
            || facts.iter().any(|facts| facts.may_be_sold.contains(&seat))
    };
    refused_seats_are_sold(facts, is_known, &mut joint.violations);
    wait_until_current().await;
    for concert in distinct_concerts(facts).into_keys() {
        let seats = seat_map(client, concert).await?;
        sold_seats_are_known(&seats, is_known, &mut joint.violations);
        compare_tiers(joint, &seats, &tiers(client, concert).await.context("reading the tiers")?, true);
    }
    Ok(())
}

/// The seats that were sold before any of the runs.
fn sold_before_all(facts: &[&JournalFacts]) -> HashSet<i32> {
    let mut runs_of_seat: HashMap<(Uuid, i32), usize> = HashMap::new();
    let mut runs_of_concert: HashMap<Uuid, usize> = HashMap::new();
    for concert in facts.iter().flat_map(|facts| &facts.concerts) {
        *runs_of_concert.entry(concert.id).or_default() += 1;
        for seat in &concert.sold_before {
            *runs_of_seat.entry((concert.id, *seat)).or_default() += 1;
        }
    }
    let before_all =
        runs_of_seat.into_iter().filter(|((concert, _), runs)| runs_of_concert[concert] == *runs);
    before_all.map(|((_, seat), _)| seat).collect()
}

fn sold_seats_are_known(seats: &[Seat], is_known: impl Fn(i32) -> bool, violations: &mut Violations) {
    for seat in seats.iter().filter(|seat| seat.is_booked && !is_known(seat.id)) {
        let what = format!(
            "the seat map shows seat {} as sold, but no client of any run received this sale",
            seat.id
        );
        violations.add(Invariant::SeatMapAgrees, what);
    }
}

fn refused_seats_are_sold(
    facts: &[&JournalFacts],
    is_known: impl Fn(i32) -> bool,
    violations: &mut Violations,
) {
    for JournalFacts { run, refused, .. } in facts {
        for seats in refused.iter().filter(|seats| !seats.iter().any(|seat| is_known(*seat))) {
            let what =
                format!("a request of run {run} was refused seats {seats:?}, but none of them is sold");
            violations.add(Invariant::RefusalsAreTrue, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(run: &str, sold: &[(i32, i64)]) -> JournalFacts {
        let tickets = sold.iter().map(|(_, sale)| Uuid::from_u128(sale.unsigned_abs().into())).collect();
        let concerts = vec![Concert { id: Uuid::from_u128(1), seats: 10, sold_before: Vec::new() }];
        JournalFacts {
            run: run.to_owned(),
            concerts,
            is_complete: true,
            tickets,
            sold: sold.to_vec(),
            ..JournalFacts::default()
        }
    }

    fn violations(facts: &[&JournalFacts]) -> Violations {
        let mut violations = Violations::default();
        compare_journals(facts, &mut violations);
        violations
    }

    #[test]
    fn a_seat_sold_to_two_runs_is_found() {
        let (a, b) = (facts("a", &[(4, 100), (5, 101)]), facts("b", &[(5, 200), (6, 201)]));
        let found = violations(&[&a, &b]);
        let broken = found.of(Invariant::NoSeatSoldTwice).unwrap();
        assert_eq!(broken.listed, ["seat 5 is in booking 101 of run a and in booking 200 of run b"]);
        assert!(found.of(Invariant::TicketsAreUnique).is_none());
    }

    #[test]
    fn a_ticket_or_a_booking_of_two_runs_is_found() {
        let (a, b) = (facts("a", &[(4, 100)]), facts("b", &[(5, 100)]));
        let found = violations(&[&a, &b]);
        assert_eq!(found.of(Invariant::TicketsAreUnique).unwrap().count, 1);
        assert_eq!(found.of(Invariant::OneOutcomePerKey).unwrap().count, 1);
    }

    #[test]
    fn runs_with_different_seats_agree() {
        let (a, b) = (facts("a", &[(4, 100), (5, 100)]), facts("b", &[(6, 200)]));
        assert!(violations(&[&a, &b]).is_empty());
    }

    #[test]
    fn a_sold_seat_that_no_run_has_bought_is_found() {
        let seat = |id, is_booked| Seat { id, is_booked, ticket_tier_id: 1 };
        let mut found = Violations::default();
        sold_seats_are_known(&[seat(4, true), seat(5, true), seat(6, false)], |seat| seat == 4, &mut found);
        let broken = found.of(Invariant::SeatMapAgrees).unwrap();
        assert_eq!(broken.count, 1);
        assert!(broken.listed[0].contains("seat 5"), "{broken:?}");
    }

    #[test]
    fn a_free_seat_that_was_refused_is_found() {
        let refused = JournalFacts { refused: vec![[4, 5].into(), [6, 7].into()], ..facts("a", &[]) };
        let mut found = Violations::default();
        refused_seats_are_sold(&[&refused], |seat| seat == 5, &mut found);
        assert_eq!(found.of(Invariant::RefusalsAreTrue).unwrap().count, 1);
    }

    #[test]
    fn a_seat_sold_to_an_earlier_run_was_not_sold_before_all_runs() {
        let (mut a, mut b) = (facts("a", &[]), facts("b", &[]));
        a.concerts[0].sold_before = vec![1];
        b.concerts[0].sold_before = vec![1, 2];
        assert_eq!(sold_before_all(&[&a, &b]), HashSet::from([1]));
    }
}
