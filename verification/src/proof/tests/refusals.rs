//! False refusals are found in manipulated evidence.

use super::*;

/// How wrong the clocks of the servers may be, in microseconds.
const CLOCK_ERROR: i64 = 250_000;

/// The release of a seat that is free from this time on, in microseconds since the start.
fn free_from(micros: i64) -> SeatRelease {
    SeatRelease { free_from: database_time(micros), committed_at: None }
}

/// Bob is refused at 2 ms, without a ticket, because of these seats.
fn refused_at_once(key: Option<u32>, requested: &[i32], taken: &[i32]) -> RequestRecord {
    let taken = taken.into();
    let response = BookingResponse::Refused { status: 409, code: "seats-taken".into(), ticket: None, taken };
    request(BOB, key, requested, response)
}

/// The rules that are violated if Bob is refused seat 1 at once, and Alice's sale of it is like this.
fn violated_by_sale(change: impl FnOnce(&mut SaleRow)) -> Vec<Invariant> {
    violated_by(|evidence| {
        evidence.add(refused_at_once(Some(1), &[1], &[1]));
        evidence.sales[0].created_at = database_time(0);
        change(&mut evidence.sales[0]);
    })
}

#[test]
fn a_refusal_without_a_ticket_is_true_if_the_seat_was_sold_before() {
    assert_eq!(violated_by_sale(|_| {}), []);
}

#[test]
fn a_refused_seat_that_is_never_sold_is_found() {
    let of_a_ticket = violated_by(|evidence| {
        let taken = outcome("rejected", Some("seats-taken"), &[3]);
        evidence.journal[5] = final_read(2, taken, 1, 32_000);
    });
    assert_eq!(of_a_ticket, [Invariant::RefusalsAreTrue]);
    let at_once = violated_by(|evidence| evidence.add(refused_at_once(None, &[4], &[4])));
    assert_eq!(at_once, [Invariant::RefusalsAreTrue]);
    let one_of_two = violated_by(|evidence| evidence.add(refused_at_once(None, &[1, 4], &[1, 4])));
    assert_eq!(one_of_two, [Invariant::RefusalsAreTrue]);
}

/// The database is not read: only what clients know is checked.
#[test]
fn without_a_database_a_refused_seat_that_is_never_sold_is_found() {
    let violated = |taken: &[i32]| {
        let mut request_log = RequestLog::new(RUN);
        let mut evidence = correct();
        evidence.add(refused_at_once(None, taken, taken));
        evidence.journal.into_iter().for_each(|entry| request_log.enter(entry));
        let buyers = Buyers::of(&request_log);
        let (header, facts) = (&evidence.header, &evidence.facts);
        let context = CheckContext { request_log: &request_log, buyers: &buyers, header, facts };
        !responses::check(context).violations.is_empty()
    };
    assert!(!violated(&[1]), "sold to Alice");
    assert!(!violated(&[10]), "sold before the run");
    assert!(violated(&[4]), "never sold");
}

#[test]
fn a_refusal_on_acceptance_is_found() {
    // The sale was committed after the refusal was received at 2 ms. Its time of creation has an error.
    let created_at = |micros| violated_by_sale(|sale| sale.created_at = database_time(micros));
    assert_eq!(created_at(2_000 + CLOCK_ERROR), []);
    assert_eq!(created_at(2_100 + CLOCK_ERROR), [Invariant::RefusalsAreTrue]);
    // Commit times are exact. The database's clock was read with an error of 50 us.
    let committed_at = |micros| violated_by_sale(|sale| sale.committed_at = Some(database_time(micros)));
    assert_eq!(committed_at(2_050), []);
    assert_eq!(committed_at(2_051), [Invariant::RefusalsAreTrue]);
}

#[test]
fn a_rejection_that_is_settled_before_the_sale_is_found() {
    // Bob's rejection is settled at 20 ms. He reads it much later.
    let created_at = |micros| {
        violated_by(|evidence| {
            let taken = outcome("rejected", Some("seats-taken"), &[2]);
            evidence.journal[5] = final_read(2, taken, 1, 9_000_000);
            evidence.sales[0].created_at = database_time(micros);
        })
    };
    assert_eq!(created_at(21_000 + 2 * CLOCK_ERROR), []);
    assert_eq!(created_at(21_001 + 2 * CLOCK_ERROR), [Invariant::RefusalsAreTrue]);
}

#[test]
fn a_refusal_of_a_freed_seat_is_found() {
    // The request was sent at 1 ms.
    let released = |release| {
        violated_by_sale(|sale| {
            sale.created_at = database_time(-60_000_000);
            sale.seats[0].release = Some(release);
        })
    };
    let (still_closed, free) = (database_time(950 - CLOCK_ERROR), database_time(949 - CLOCK_ERROR));
    assert_eq!(released(SeatRelease { free_from: still_closed, committed_at: None }), []);
    assert_eq!(released(SeatRelease { free_from: free, committed_at: None }), [Invariant::RefusalsAreTrue]);
    // That was committed only after the request was sent.
    assert_eq!(released(SeatRelease { free_from: free, committed_at: Some(database_time(1_000)) }), []);
    let unfinished = SeatRelease { free_from: i64::MAX, committed_at: None };
    assert_eq!(released(unfinished), []);
}

#[test]
fn a_freed_seat_that_is_sold_again_may_be_refused() {
    let sold_again = violated_by_sale(|sale| {
        sale.created_at = database_time(-60_000_000);
        sale.seats[0].release = Some(free_from(-50_000_000));
    });
    assert_eq!(sold_again, [Invariant::RefusalsAreTrue]);
    let by_another = violated_by(|evidence| {
        evidence.add(refused_at_once(Some(1), &[1], &[1]));
        evidence.sales[0].seats[0].release = Some(free_from(-50_000_000));
        evidence.add(request(3, None, &[1], no_response()));
        evidence.sales.push(SaleRow { created_at: database_time(0), ..sale(8, 9, 3, &[1]) });
        evidence.bookings.push(row(9, 3, "confirmed", Some(8), None));
    });
    assert_eq!(by_another, []);
}

#[test]
fn a_retry_shares_an_earlier_rejection_even_if_the_seat_is_free_again() {
    // Seat 2 is free from 4 s on. The retry is sent at 10 s.
    let retried = |key: u32| {
        violated_by(|evidence| {
            let retry = RequestRecord { due: 10_000_000, ..request(BOB, Some(key), &[3, 2], accepted(3)) };
            evidence.add(retry);
            let taken = outcome("rejected", Some("seats-taken"), &[2]);
            evidence.journal.push(final_read(3, taken, 1, 11_000_000));
            evidence.bookings.push(row(3, BOB, "rejected", None, Some("seats-taken")));
            evidence.sales[0].seats[1].release = Some(free_from(4_000_000));
        })
    };
    assert_eq!(retried(0), []);
    assert_eq!(retried(1), [Invariant::RefusalsAreTrue]);
}

/// Alice is refused seat 1, which is sold to herself.
fn violated_by_own_sale(key: Option<u32>) -> Vec<Invariant> {
    violated_by(|evidence| {
        let refused = refused_at_once(key, &[1], &[1]);
        evidence.add(RequestRecord {
            intent: BookingIntent { buyer: ALICE, ..refused.intent.clone() },
            ..refused
        });
        evidence.sales[0].created_at = database_time(0);
        // Known to be under her first key.
        evidence.sales[0].ticket = ticket(1);
    })
}

#[test]
fn a_retry_that_is_refused_because_of_its_own_sale_is_found() {
    assert_eq!(violated_by_own_sale(Some(0)), [Invariant::RefusalsAreTrue]);
    assert_eq!(violated_by_own_sale(Some(1)), []);
    assert_eq!(violated_by_own_sale(None), []);
}

#[test]
fn a_stored_rejection_that_no_client_received_is_checked_too() {
    let stored = |seats: &[i32]| {
        violated_by(|evidence| {
            evidence.add(request(3, Some(0), &[1, 4], no_response()));
            let code = Some("seats-taken");
            let rejected = row(9, 3, "rejected", None, code);
            evidence.bookings.push(BookingRow { rejected_seats: seats.to_vec(), ..rejected });
        })
    };
    assert_eq!(stored(&[1]), []);
    assert_eq!(stored(&[4]), [Invariant::RefusalsAreTrue]);
    let of_an_own_sale = violated_by(|evidence| {
        evidence.bookings[0] =
            BookingRow { rejected_seats: vec![1], ..row(0, ALICE, "rejected", None, Some("seats-taken")) };
    });
    assert_eq!(of_an_own_sale, [Invariant::OneOutcomePerKey, Invariant::RefusalsAreTrue]);
}

#[test]
fn a_refusal_that_names_no_seat_or_one_that_was_not_requested_is_found() {
    assert_eq!(
        violated_by(|evidence| evidence.add(refused_at_once(None, &[1], &[]))),
        [Invariant::RefusalsAreTrue]
    );
    assert_eq!(
        violated_by(|evidence| evidence.add(refused_at_once(None, &[3], &[1]))),
        [Invariant::RefusalsAreTrue]
    );
}

#[test]
fn without_a_reading_of_the_clock_times_are_not_compared() {
    let violated = violated_by(|evidence| {
        evidence.journal.remove(0);
        evidence.journal.insert(3, Entry::Request(refused_at_once(Some(1), &[1], &[1])));
        evidence.sales[0].created_at = database_time(60_000_000);
    });
    assert_eq!(violated, []);
}

/// Alice's first attempt was accepted at the start of the journal. Her retry is refused at once, because of the seat of another
/// buyer, and the first attempt is sold nevertheless.
#[test]
fn a_first_attempt_that_is_sold_after_its_retry_was_refused_is_found() {
    let retried = |key: Option<u32>, seats: &[i32], micros: u64| {
        violated_by(|evidence| {
            let refused = refused_at_once(key, seats, &[1]);
            let intent = BookingIntent { buyer: ALICE, ..refused.intent.clone() };
            evidence.add(RequestRecord { intent, due: micros, ..refused });
            // Seat 1 was sold to another buyer before, and released since.
            evidence.add(request(3, None, &[1], accepted(9)));
            evidence.journal.push(final_read(9, confirmed(8, 3, &[1]), 0, 30_000));
            let mut other = SaleRow { created_at: database_time(-60_000_000), ..sale(8, 9, 3, &[1]) };
            other.seats[0].release = Some(free_from(4_500_000));
            evidence.sales.push(other);
            evidence.bookings.push(row(9, 3, "confirmed", Some(8), None));
            evidence.facts.released_seats = [1].into();
        })
    };
    let clock_error = u64::try_from(CLOCK_ERROR).unwrap();
    assert_eq!(retried(Some(0), &[1, 2], 1_000_000), [Invariant::OneOutcomePerKey]);
    assert_eq!(retried(Some(0), &[2, 1], 1_000_000), [Invariant::OneOutcomePerKey]);
    // The clock of the instance may have been behind, or the attempt may still have been on its way.
    assert_eq!(retried(Some(0), &[1, 2], clock_error), []);
    assert_eq!(retried(Some(7), &[1, 2], 1_000_000), [], "it is another booking");
    assert_eq!(retried(Some(0), &[1, 3], 1_000_000), [], "other seats are another booking");
}

#[test]
fn a_refusal_without_a_ticket_is_not_shared_with_an_earlier_attempt_under_its_key() {
    // Seat 2 was sold to Alice, and is free again from 4 s on. Bob was rejected before, and is refused it again without a ticket at 10 s.
    let refused = violated_by(|evidence| {
        evidence.add(RequestRecord { due: 10_000_000, ..refused_at_once(Some(0), &[3, 2], &[2]) });
        evidence.sales[0].seats[1].release = Some(free_from(4_000_000));
    });
    assert_eq!(refused, [Invariant::RefusalsAreTrue]);
}
