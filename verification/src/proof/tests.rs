//! The checks find every violation in manipulated evidence.

mod refusals;

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::bookings::BookingCheck;
use super::context::{Buyers, CheckContext, Deadlines, RunFacts};
use super::refusals::compare_with_sales;
use super::responses;
use super::sales::SaleCheck;
use super::stored::{BookingRow, SaleRow, SeatRelease, SoldSeat};
use crate::contract::{BookingIntent, BookingResponse, Outcome, Sale, Target, email};
use crate::invariant::{Invariant, Violations};
use crate::journal::{ClockReading, Concert, Entry, Header, RequestRecord};
use crate::request_log::RequestLog;
use crate::status_read::StatusRead;

const RUN: &str = "x1";
/// The start of the journal: 16:14:22.341 on 2026-11-22, in milliseconds since the Unix epoch.
const STARTED: i64 = 1_795_364_062_341;
const MINUTE: Duration = Duration::from_mins(1);

const ALICE: u64 = 1;
const BOB: u64 = 2;

/// A time of the database, this many microseconds after the start of the journal.
fn database_time(micros: i64) -> i64 {
    STARTED * 1_000 + micros
}

/// Ticket `n`, issued at the start of the journal.
fn ticket(n: u128) -> Uuid {
    Uuid::from_u128(u128::from(STARTED.unsigned_abs()) << 80 | 0x8 << 76 | 0b10 << 62 | n)
}

#[derive(Clone)]
struct Evidence {
    header: Header,
    facts: RunFacts,
    journal: Vec<Entry>,
    bookings: Vec<BookingRow>,
    sales: Vec<SaleRow>,
}

/// A request that received this response at 2 ms.
fn request(buyer: u64, key: Option<u32>, seats: &[i32], response: BookingResponse) -> RequestRecord {
    let intent = BookingIntent { buyer, seats: seats.into(), key };
    RequestRecord { intent, instance: 0, target: Target::Async, due: 1_000, took: 1_000, response }
}

fn accepted(n: u128) -> BookingResponse {
    BookingResponse::Accepted { ticket: ticket(n) }
}

fn no_response() -> BookingResponse {
    BookingResponse::Missing { reason: "no-response".into() }
}

/// An outcome that was settled 20 ms after the start.
fn outcome(status: &str, code: Option<&str>, taken: &[i32]) -> Outcome {
    Outcome {
        status: status.into(),
        sale: None,
        code: code.map(Into::into),
        settled_at: Some(STARTED + 20),
        taken: taken.into(),
    }
}

fn confirmed(sale: i64, buyer: u64, seats: &[i32]) -> Outcome {
    let sale = Sale { id: sale, email: email(RUN, buyer).into(), seats: seats.into() };
    Outcome { sale: Some(sale), ..outcome("confirmed", None, &[]) }
}

/// A read of a final status that was received a millisecond after it was sent.
fn final_read(n: u128, outcome: Outcome, instance: u16, sent: u64) -> Entry {
    Entry::Final { ticket: ticket(n), outcome, read: StatusRead { instance, sent, took: 1_000 } }
}

fn row(n: u128, buyer: u64, status: &str, sale: Option<i64>, code: Option<&str>) -> BookingRow {
    BookingRow {
        ticket: ticket(n),
        email: Some(email(RUN, buyer)),
        status: status.to_owned(),
        sale,
        code: code.map(str::to_owned),
        rejected_seats: Vec::new(),
        settled_at: STARTED + 20,
    }
}

/// A sale that was created 20 ms after the start.
fn sale(id: i64, n: u128, buyer: u64, seats: &[i32]) -> SaleRow {
    let sold = |seat: &i32| SoldSeat { seat: *seat, release: None };
    SaleRow {
        id,
        ticket: ticket(n),
        email: email(RUN, buyer),
        created_at: database_time(20_000),
        committed_at: None,
        seats: seats.iter().map(sold).collect(),
    }
}

/// Alice gets seats 1 and 2, after an attempt whose connection broke but which was processed. Bob comes too late for 3
/// and 2. Alice's outcome is received at 31 ms from instance 0, Bob's at 33 ms from instance 1.
fn correct() -> Evidence {
    let taken = outcome("rejected", Some("seats-taken"), &[2]);
    let concert = Concert { id: Uuid::from_u128(1), seats: 10, sold_before: vec![10] };
    let (run, url) = (RUN.to_owned(), "http://127.0.0.1:3000".to_owned());
    Evidence {
        header: Header::new(run, "test".to_owned(), Target::Async, url, vec![concert], true),
        facts: RunFacts {
            deadlines: Some(Deadlines { booking: 15 * MINUTE, waiting: MINUTE / 6 }),
            is_only_user: true,
            other_customers: vec!["marker@example.com".to_owned()],
            ..RunFacts::default()
        },
        journal: vec![
            Entry::Clock(ClockReading { sent: 0, took: 100, database: database_time(50) }),
            Entry::Request(request(ALICE, Some(0), &[1, 2], no_response())),
            Entry::Request(request(ALICE, Some(0), &[1, 2], accepted(1))),
            Entry::Request(request(BOB, Some(0), &[3, 2], accepted(2))),
            final_read(1, confirmed(7, ALICE, &[1, 2]), 0, 30_000),
            final_read(2, taken, 1, 32_000),
            Entry::End { interrupted: false },
        ],
        bookings: vec![
            row(0, ALICE, "confirmed", Some(7), None),
            row(1, ALICE, "confirmed", Some(7), None),
            row(2, BOB, "rejected", None, Some("seats-taken")),
        ],
        sales: vec![sale(7, 0, ALICE, &[1, 2])],
    }
}

impl Evidence {
    fn check(&self) -> Violations {
        let mut request_log = RequestLog::new(RUN);
        self.journal.iter().cloned().for_each(|entry| request_log.enter(entry));
        let buyers = Buyers::of(&request_log);
        let Self { header, facts, .. } = self;
        let context = CheckContext { request_log: &request_log, buyers: &buyers, header, facts };
        let mut violations = responses::check(context).violations;
        let mut bookings = BookingCheck::default();
        self.bookings.iter().for_each(|row| bookings.add(context, row, &mut violations));
        let refusals = bookings.finish(context, &mut violations);
        let mut sales = SaleCheck::new(context, &refusals);
        self.sales.iter().for_each(|sale| sales.add(context, sale, &mut violations));
        let of_refused = sales.finish(context, &mut violations);
        compare_with_sales(context, &refusals, &of_refused, &mut violations);
        violations
    }

    /// Adds a request before the end of the journal.
    fn add(&mut self, record: RequestRecord) {
        self.journal.insert(4, Entry::Request(record));
    }
}

/// The rules that are violated after this change to the evidence.
fn violated_by(change: impl FnOnce(&mut Evidence)) -> Vec<Invariant> {
    let mut evidence = correct();
    change(&mut evidence);
    let rules: BTreeSet<Invariant> = evidence.check().rules();
    rules.into_iter().collect()
}

#[test]
fn correct_evidence_violates_no_rule() {
    assert_eq!(correct().check(), Violations::default());
}

#[test]
fn a_ticket_without_a_final_status_is_found() {
    let lost = violated_by(|evidence| {
        evidence.journal.remove(5);
        evidence.bookings.truncate(2);
    });
    assert_eq!(lost, [Invariant::EveryTicketEnds]);
}

#[test]
fn a_changed_final_status_is_found_between_reads_and_in_the_database() {
    let changed = outcome("rejected", Some("sold-out"), &[2]);
    let between_reads = violated_by(|evidence| evidence.journal.push(final_read(2, changed, 1, 40_000)));
    assert_eq!(between_reads, [Invariant::FinalStatusNeverChanges, Invariant::DatabaseAgrees]);
    let status = violated_by(|evidence| "failed".clone_into(&mut evidence.bookings[2].status));
    assert_eq!(status, [Invariant::DatabaseAgrees]);
    let code = violated_by(|evidence| evidence.bookings[2].code = Some("sale-closed".to_owned()));
    assert_eq!(code, [Invariant::DatabaseAgrees]);
    let missing = violated_by(|evidence| evidence.bookings.truncate(2));
    assert_eq!(missing, [Invariant::DatabaseAgrees]);
}

/// The rules that are violated if Bob also reads `queued`. Instance 1 reported his rejection at 33 ms.
fn violated_by_queued(instance: u16, sent: u64) -> Vec<Invariant> {
    let read = StatusRead { instance, sent, took: 2_000_000 };
    let queued = Entry::Unsettled { ticket: ticket(2), status: "queued".into(), read };
    violated_by(|evidence| evidence.journal.push(queued))
}

#[test]
fn a_final_status_that_is_later_reported_as_queued_is_found() {
    assert_eq!(violated_by_queued(1, 33_000), [Invariant::FinalStatusNeverChanges]);
    // Sent before the final status was received: the response may have overtaken it.
    assert_eq!(violated_by_queued(1, 32_999), []);
    assert_eq!(violated_by_queued(0, 1_033_000), []);
    assert_eq!(violated_by_queued(0, 1_033_001), [Invariant::FinalStatusNeverChanges]);
}

#[test]
fn an_outcome_without_a_request_is_found() {
    let without_request = violated_by(|evidence| evidence.bookings.push(row(9, 3, "failed", None, None)));
    assert_eq!(without_request, [Invariant::OnlyWhatWasRequested, Invariant::OneEffectPerAttempt]);
    let email_of = |email: Option<&str>| BookingRow {
        email: email.map(str::to_owned),
        ..row(9, ALICE, "expired", None, None)
    };
    let of_a_stranger = violated_by(|evidence| evidence.bookings.push(email_of(Some("mallory@example.com"))));
    assert_eq!(of_a_stranger, [Invariant::OnlyWhatWasRequested]);
    let of_the_test = violated_by(|evidence| evidence.bookings.push(email_of(Some("marker@example.com"))));
    assert_eq!(of_the_test, []);
    let fenced = violated_by(|evidence| evidence.bookings.push(email_of(None)));
    assert_eq!(fenced, [Invariant::OnlyWhatWasRequested]);
    let fenced_after_a_lost_response = violated_by(|evidence| {
        evidence.bookings.push(email_of(None));
        evidence.add(RequestRecord { target: Target::Sync, ..request(3, None, &[5], no_response()) });
    });
    assert_eq!(fenced_after_a_lost_response, []);
}

#[test]
fn a_sale_that_was_not_requested_is_found() {
    let other_seats = violated_by(|evidence| evidence.sales[0] = sale(7, 1, ALICE, &[1, 2, 4]));
    assert_eq!(other_seats, [Invariant::OnlyWhatWasRequested]);
    let under_an_unknown_ticket = violated_by(|evidence| evidence.sales[0] = sale(7, 0, ALICE, &[1, 2, 4]));
    assert_eq!(under_an_unknown_ticket, [Invariant::OnlyWhatWasRequested]);
    let to_a_stranger = violated_by(|evidence| {
        evidence.sales.push(SaleRow { email: "mallory@example.com".to_owned(), ..sale(8, 9, BOB, &[4]) });
    });
    assert_eq!(to_a_stranger, [Invariant::OnlyWhatWasRequested]);
    let not_reported = violated_by(|evidence| evidence.sales.push(sale(8, 2, BOB, &[3, 2])));
    assert_eq!(not_reported, [Invariant::DatabaseAgrees]);
}

#[test]
fn an_attempt_with_two_effects_is_found() {
    let twice = violated_by(|evidence| evidence.bookings.push(row(3, ALICE, "confirmed", Some(7), None)));
    assert_eq!(twice, [Invariant::OnlyWhatWasRequested, Invariant::OneEffectPerAttempt]);
    let sold_twice = violated_by(|evidence| evidence.sales.push(sale(7, 1, ALICE, &[1, 2])));
    assert_eq!(sold_twice, [Invariant::OneEffectPerAttempt]);
}

#[test]
fn a_key_with_two_outcomes_is_found() {
    let in_the_database = violated_by(|evidence| {
        evidence.bookings[0] = row(0, ALICE, "rejected", None, Some("seats-taken"));
    });
    assert_eq!(in_the_database, [Invariant::OneOutcomePerKey]);
    let sold_out = outcome("rejected", Some("sold-out"), &[2]);
    let in_responses = violated_by(|evidence| {
        evidence.add(request(BOB, Some(0), &[3, 2], accepted(3)));
        evidence.journal.push(final_read(3, sold_out.clone(), 0, 40_000));
        evidence.bookings.push(row(3, BOB, "rejected", None, Some("sold-out")));
    });
    assert!(in_responses.contains(&Invariant::OneOutcomePerKey), "{in_responses:?}");
    // An expired booking does not hold its key.
    let expired = violated_by(|evidence| {
        evidence.add(request(BOB, Some(0), &[3, 2], accepted(3)));
        evidence.journal.push(final_read(3, outcome("expired", None, &[]), 0, 40_000));
        let settled_at = STARTED + 900_001;
        evidence.bookings.push(BookingRow { settled_at, ..row(3, BOB, "expired", None, None) });
    });
    assert_eq!(expired, []);
}

#[test]
fn a_late_decision_and_an_early_expiry_are_found() {
    let late = violated_by(|evidence| evidence.bookings[2].settled_at += 900_000);
    assert_eq!(late, [Invariant::DeadlinesHold]);
    let early = violated_by(|evidence| {
        evidence.journal[5] = final_read(2, outcome("expired", None, &[]), 1, 32_000);
        evidence.bookings[2] = row(2, BOB, "expired", None, None);
    });
    assert_eq!(early, [Invariant::DeadlinesHold]);
    let without_deadlines = violated_by(|evidence| {
        evidence.bookings[2].settled_at += 900_000;
        evidence.facts.deadlines = None;
    });
    assert_eq!(without_deadlines, []);
}
