//! The checker finds every broken guarantee in manipulated evidence.

use std::time::Duration;

use super::*;
use crate::evidence::Sale;

/// Issued at 16:14:22.341 on 2026-11-22.
const ISSUED_AT: i64 = 1_795_364_062_341;

const TERMS: Terms = Terms {
    deadline: Duration::from_mins(15),
    wait: Duration::from_secs(10),
    recovery: Duration::from_secs(5),
    dead_letters: 0,
};

fn ticket(n: u128) -> Uuid {
    Uuid::from_u128(u128::from(ISSUED_AT.unsigned_abs()) << 80 | 0x8 << 76 | 0b10 << 62 | n)
}

fn standing(status: &str, sale: Option<i64>, reason: Option<&str>) -> Standing {
    Standing { status: status.to_owned(), sale, reason: reason.map(str::to_owned) }
}

fn settled(n: u128, customer: &str, standing: Standing, taken: &[i64]) -> Settled {
    let (ticket, customer) = (ticket(n), Some(customer.to_owned()));
    Settled { ticket, customer, standing, settled_at_millis: ISSUED_AT + 20, taken: taken.to_owned() }
}

fn asked(attempt: u64, customer: &str, seats: &[i64]) -> Entry {
    let (customer, seats) = (customer.to_owned(), seats.to_owned());
    Entry::Asked { attempt, wish: Wish { key: Some(customer.clone()), customer, seats, way: Way::Poll } }
}

fn answered(attempt: u64, status: u16, ticket: Option<Uuid>) -> Entry {
    Entry::Answered { attempt, status, ticket }
}

/// A read of the ticket's status from this instance, with its times in microseconds.
fn seen(n: u128, standing: &Standing, instance: &str, sent: u64, received: u64) -> Entry {
    let read = StatusRead { instance: instance.to_owned(), sent, received };
    Entry::Seen { ticket: ticket(n), standing: standing.clone(), read }
}

/// Alice gets seats 1 and 2, after an attempt whose connection broke but which was processed. Bob comes too late for 2
/// and 3.
fn honest() -> Evidence {
    let sold = standing("confirmed", Some(7), None);
    let refused = standing("rejected", None, Some("seats-taken"));
    let queued = standing("queued", None, None);
    Evidence {
        journal: vec![
            asked(0, "alice", &[1, 2]),
            Entry::BrokenOff { attempt: 0 },
            asked(1, "alice", &[1, 2]),
            asked(2, "bob", &[3, 2]),
            answered(1, 202, Some(ticket(1))),
            seen(1, &queued, "a", 100, 200),
            seen(1, &sold, "a", 300, 400),
            answered(2, 202, Some(ticket(2))),
            seen(2, &refused, "b", 500, 600),
        ],
        bookings: vec![
            settled(0, "alice", sold.clone(), &[]),
            settled(1, "alice", sold, &[]),
            settled(2, "bob", refused, &[2]),
        ],
        sales: vec![Sale { id: 7, customer: "alice".to_owned(), seats: vec![1, 2] }],
        ..Evidence::default()
    }
}

/// The guarantees that are broken after this change to the evidence.
fn broken_by(tamper: impl FnOnce(&mut Evidence)) -> Vec<Promise> {
    let mut evidence = honest();
    tamper(&mut evidence);
    let broken: BTreeSet<Promise> =
        check(&evidence, &TERMS).into_iter().map(|violation| violation.broken).collect();
    broken.into_iter().collect()
}

#[test]
fn correct_evidence_breaks_no_guarantee() {
    assert_eq!(broken_by(|_| {}), []);
}

#[test]
fn a_ticket_without_a_final_status_is_reported_as_lost() {
    let lost = broken_by(|evidence| {
        evidence.journal.truncate(8);
        evidence.bookings.truncate(2);
    });
    assert_eq!(lost, [Promise::EveryTicketEnds]);
}

#[test]
fn a_changed_final_status_is_found_in_the_journal_and_in_the_database() {
    let changed = standing("rejected", None, Some("sold-out"));
    let between_reads = broken_by(|evidence| {
        evidence.journal.push(seen(2, &changed, "b", 700, 800));
    });
    assert_eq!(between_reads, [Promise::FinalStatusStands]);
    let in_the_database = broken_by(|evidence| evidence.bookings[2].standing = changed.clone());
    assert_eq!(in_the_database, [Promise::FinalStatusStands]);
    let missing = broken_by(|evidence| evidence.bookings.truncate(2));
    assert_eq!(missing, [Promise::FinalStatusStands]);
}

/// The guarantees that are broken if Bob also reads `queued`. Instance `b` reported his rejection at 600 us.
fn broken_by_queued(instance: &str, sent: u64) -> Vec<Promise> {
    let queued = standing("queued", None, None);
    broken_by(|evidence| evidence.journal.push(seen(2, &queued, instance, sent, sent + 2_000_000)))
}

#[test]
fn a_final_status_that_its_instance_later_reports_as_queued_is_found() {
    assert_eq!(broken_by_queued("b", 600), [Promise::FinalStatusStands]);
    assert_eq!(broken_by_queued("b", 5_000_000), [Promise::FinalStatusStands]);
    // Sent before the final status was received: the response may have overtaken it.
    assert_eq!(broken_by_queued("b", 599), []);
}

#[test]
fn another_instance_may_report_queued_for_at_most_one_second() {
    assert_eq!(broken_by_queued("a", 700), []);
    assert_eq!(broken_by_queued("a", 1_000_600), []);
    assert_eq!(broken_by_queued("a", 1_000_601), [Promise::FinalStatusStands]);
}

#[test]
fn an_unknown_status_does_not_count_as_final() {
    let on_hold = standing("on-hold", None, None);
    let broken = broken_by(|evidence| evidence.journal.push(seen(2, &on_hold, "b", 700, 800)));
    assert_eq!(broken, [Promise::FinalStatusStands]);
}

#[test]
fn a_queued_event_after_the_final_event_is_found() {
    let (queued, sold) = (standing("queued", None, None), standing("confirmed", Some(7), None));
    let stream =
        [(&queued, 1_000, 1_100), (&queued, 1_100, 1_200), (&sold, 1_200, 1_300), (&queued, 1_300, 1_400)];
    let events = stream.map(|(standing, sent, received)| seen(0, standing, "c", sent, received));
    let correct = broken_by(|evidence| evidence.journal.extend(events[..3].to_vec()));
    assert_eq!(correct, []);
    let with_queued_last = broken_by(|evidence| evidence.journal.extend(events.to_vec()));
    assert_eq!(with_queued_last, [Promise::FinalStatusStands]);
}

#[test]
fn status_reads_that_must_be_final_are_counted() {
    let mut journal = honest().journal;
    assert_eq!(count_reads(&journal), Reads::default());
    let refused = standing("rejected", None, Some("seats-taken"));
    journal.push(seen(2, &refused, "b", 700, 800));
    journal.push(seen(2, &refused, "a", 900, 1_000));
    journal.push(seen(2, &refused, "c", 2_000_000, 2_000_100));
    assert_eq!(count_reads(&journal), Reads { same_instance: 1, other_instance: 1 });
}

#[test]
fn an_outcome_without_a_request_is_found() {
    let without_request = broken_by(|evidence| {
        evidence.bookings.push(settled(9, "mallory", standing("failed", None, None), &[]));
    });
    assert_eq!(without_request, [Promise::NothingUnasked, Promise::OneEffectPerTry]);
    let without_customer = broken_by(|evidence| {
        let expired = settled(9, "", standing("expired", None, None), &[]);
        evidence.bookings.push(Settled { customer: None, ..expired });
    });
    assert_eq!(without_customer, [Promise::NothingUnasked]);
    let other_seats = broken_by(|evidence| evidence.sales[0].seats.push(4));
    assert_eq!(other_seats, [Promise::NothingUnasked]);
}

#[test]
fn an_attempt_with_two_effects_is_found() {
    let twice = broken_by(|evidence| {
        evidence.bookings.push(settled(3, "alice", standing("confirmed", Some(7), None), &[]));
    });
    assert_eq!(twice, [Promise::NothingUnasked, Promise::OneEffectPerTry]);
    let sold_twice = broken_by(|evidence| evidence.sales.push(evidence.sales[0].clone()));
    assert_eq!(sold_twice, [Promise::OneEffectPerTry]);
}

#[test]
fn a_key_with_two_outcomes_and_a_rejection_by_the_customers_own_sale_are_found() {
    let refused = broken_by(|evidence| {
        evidence.bookings[0] = settled(0, "alice", standing("rejected", None, Some("seats-taken")), &[1]);
    });
    assert_eq!(refused, [Promise::OneOutcomePerKey, Promise::NoFalseRefusal]);
    let by_nobody = broken_by(|evidence| evidence.bookings[2].taken = vec![3]);
    assert_eq!(by_nobody, [Promise::NoFalseRefusal]);
}

#[test]
fn a_late_decision_and_an_early_expiry_are_found() {
    let late = broken_by(|evidence| evidence.bookings[2].settled_at_millis += 900_000);
    assert_eq!(late, [Promise::DeadlinesHold]);
    let early = broken_by(|evidence| {
        evidence.journal.remove(8);
        let expired = standing("expired", None, None);
        evidence.journal.push(seen(2, &expired, "b", 500, 600));
        evidence.bookings[2] = settled(2, "bob", expired, &[]);
    });
    assert_eq!(early, [Promise::DeadlinesHold]);
}

#[test]
fn leftovers_on_the_servers_are_found() {
    assert_eq!(broken_by(|evidence| evidence.imbalances.push("1 seat".to_owned())), [Promise::BooksBalance]);
    assert_eq!(broken_by(|evidence| evidence.deadlocks = 1), [Promise::NoDeadlock]);
    assert_eq!(broken_by(|evidence| evidence.forgotten_transactions = 1), [Promise::NothingLeftOpen]);
    let left = broken_by(|evidence| evidence.left.push(("bookings.dead".to_owned(), 1)));
    assert_eq!(left, [Promise::NothingLeftQueued]);
    assert_eq!(broken_by(|evidence| evidence.dead_letters = 1), [Promise::DeadLettersAddUp]);
    assert_eq!(broken_by(|evidence| evidence.recovery = Duration::from_secs(6)), [Promise::Recovers]);
}
