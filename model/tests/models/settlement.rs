//! `hamro_model::settlement`.

use hamro_model::settlement::*;

use crate::report::{breaks, breaks_only_together, holds};

const KEY: Option<&str> = Some("key");

/// Two bookings of both seats in opposite order, and one of one seat.
fn overlapping() -> Settlement {
    let request = |seats| Request { seats, key: None, is_late: false };
    Settlement::of(2, &[request(&[0, 1]), request(&[1, 0]), request(&[1])])
}

/// A first try, its retry, and another customer's booking of the same seat.
fn retried() -> Settlement {
    let request = |key| Request { seats: &[0], key, is_late: false };
    Settlement::of(1, &[request(KEY), request(None), request(KEY)])
}

/// A first try and its retry, of a seat that does not exist: no lock keeps them apart, and neither holds the key.
fn retried_without_locks() -> Settlement {
    let request = |seats, key| Request { seats, key, is_late: false };
    Settlement::of(1, &[request(&[9], KEY), request(&[9], KEY), request(&[0], None)])
}

/// Two keys, each used for two different requests.
fn two_keys() -> Settlement {
    let request = |seats, key| Request { seats, key, is_late: false };
    let other = Some("other key");
    Settlement::of(4, &[request(&[0], KEY), request(&[1], other), request(&[2], other), request(&[3], KEY)])
}

/// A sale of two seats that is released, its retry, and bookings of the same seats before and after.
fn released(removed: &[Rule]) -> Settlement {
    let request = |seats, key, is_late| Request { seats, key, is_late };
    let model = Settlement::of(
        2,
        &[
            request(&[0, 1], KEY, false),
            request(&[0, 1], KEY, false),
            request(&[1], None, false),
            request(&[1], None, true),
        ],
    );
    Settlement { batch_max: 1, releases: 1, ..model }.without(removed)
}

/// A sale that two administrators release, and a booking after the first release.
fn released_twice(removed: &[Rule]) -> Settlement {
    let request = |is_late| Request { seats: &[0], key: None, is_late };
    let model = Settlement::of(1, &[request(false), request(false), request(true)]);
    Settlement { batch_max: 1, releases: 2, ..model }.without(removed)
}

#[test]
fn overlapping_bookings_are_settled_once() {
    holds("settlement, overlapping bookings", Settlement { crashes: 1, lost_sessions: 1, ..overlapping() });
}

#[test]
fn overlapping_bookings_in_two_batches_of_a_worker_are_settled_once() {
    let model = Settlement { in_flight: 2, batch_max: 1, workers: 1, crashes: 1, ..overlapping() };
    holds("settlement, two batches of one worker", Settlement { lost_sessions: 1, ..model });
}

#[test]
fn overlapping_bookings_in_two_batches_of_two_workers_are_settled_once() {
    let model = Settlement { in_flight: 2, batch_max: 1, crashes: 1, ..overlapping() };
    holds("settlement, two batches of two workers", model);
}

#[test]
fn a_retry_shares_the_outcome_of_its_first_try() {
    holds("settlement, a retry", Settlement { crashes: 1, duplicates: 1, ..retried() });
}

#[test]
fn a_retry_of_a_seat_that_does_not_exist_is_settled_once() {
    holds(
        "settlement, a retry without locks",
        Settlement { crashes: 1, duplicates: 1, ..retried_without_locks() },
    );
}

#[test]
fn two_keys_used_twice_each_deadlock_nowhere() {
    holds("settlement, two keys", Settlement { crashes: 1, ..two_keys() });
}

#[test]
fn a_released_seat_is_sold_again_and_a_retry_of_its_sale_shares_it() {
    holds("settlement, a release", Settlement { batch_max: 2, crashes: 1, ..released(&[]) });
}

#[test]
fn a_sale_that_two_administrators_release_is_released_once() {
    holds("settlement, two releases", Settlement { crashes: 1, ..released_twice(&[]) });
}

#[test]
fn a_release_that_locks_no_seats_frees_the_seat_of_another_sale() {
    breaks(released_twice(&[Rule::ReleasesLockSeats]), SEATS_ARE_MARKED);
}

#[test]
fn a_release_that_reads_before_it_locks_frees_the_seat_of_another_sale() {
    breaks(released_twice(&[Rule::ReleasesReadUnderLocks]), SEATS_ARE_MARKED);
}

#[test]
fn a_retry_of_a_released_sale_that_has_lost_its_key_has_another_outcome() {
    breaks(released(&[Rule::ReleasesKeepTheKey]), NO_RETRY_DIFFERS_FROM_ITS_SALE);
}

#[test]
fn a_worker_that_sells_released_seats_at_once_sells_them_to_earlier_tickets() {
    breaks(released(&[Rule::ReleasedSeatsNeedLaterTickets]), RELEASED_SEATS_GO_TO_LATER_TICKETS);
}

/// Two workers, one booking each, delivered twice.
fn delivered_twice(removed: &[Rule]) -> Settlement {
    Settlement { batch_max: 1, duplicates: 1, ..overlapping() }.without(removed)
}

/// A worker with two batches, whose bookings do not overlap.
fn two_batches(removed: &[Rule]) -> Settlement {
    Settlement { in_flight: 2, batch_max: 1, workers: 1, crashes: 1, ..two_keys() }.without(removed)
}

#[test]
fn a_batch_that_is_acknowledged_before_its_commit_is_lost_by_a_crash() {
    let model = Settlement { crashes: 1, ..overlapping() };
    breaks(model.without(&[Rule::AcknowledgeAfterCommit]), ACKNOWLEDGED_MEANS_COMMITTED);
}

#[test]
fn a_later_batch_that_is_acknowledged_first_acknowledges_an_unsettled_one() {
    breaks(two_batches(&[Rule::AcknowledgeInOrder]), ACKNOWLEDGED_MEANS_COMMITTED);
}

#[test]
fn seats_locked_out_of_order_deadlock() {
    breaks(delivered_twice(&[Rule::LockInOrder]), NO_DEADLOCK);
}

#[test]
fn a_batch_that_does_not_look_up_its_tickets_is_tried_again_without_end() {
    breaks(delivered_twice(&[Rule::LookUpTickets]), NO_ENDLESS_RETRY);
}

#[test]
fn a_delivery_that_neither_looks_up_nor_inserts_once_has_two_outcomes() {
    let rules = [Rule::LookUpTickets, Rule::TicketsAreUnique];
    breaks_only_together(delivered_twice, rules, ONE_FINAL_STATUS);
}

#[test]
fn a_retry_that_does_not_look_up_its_key_is_refused_by_its_own_sale() {
    let rules = [Rule::LookUpKeys, Rule::KeysAreUnique];
    breaks_only_together(|removed| retried().without(removed), rules, NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE);
}

#[test]
fn a_retry_that_only_the_index_holds_back_is_tried_again_without_end() {
    breaks(retried().without(&[Rule::LookUpKeys]), NO_ENDLESS_RETRY);
}

#[test]
fn a_retry_that_looks_up_before_it_locks_is_refused_by_its_own_sale() {
    let rules = [Rule::LookUpAfterLocking, Rule::KeysAreUnique];
    breaks_only_together(|removed| retried().without(removed), rules, NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE);
}

#[test]
fn tickets_that_no_lock_orders_need_their_primary_key() {
    let model = Settlement { duplicates: 1, batch_max: 1, ..retried_without_locks() };
    breaks(model.without(&[Rule::TicketsAreUnique]), ONE_FINAL_STATUS);
}

#[test]
fn requests_under_one_key_that_no_lock_orders_need_the_index_on_keys() {
    breaks(two_keys().without(&[Rule::KeysAreUnique]), ONE_OUTCOME_PER_KEY);
}

#[test]
fn rows_inserted_out_of_order_deadlock() {
    breaks(two_keys().without(&[Rule::InsertInOrder]), NO_DEADLOCK);
}

#[test]
fn a_seat_without_locks_and_without_the_index_on_live_sales_is_sold_twice() {
    let rules = [Rule::LockSeats, Rule::LiveSeatsAreUnique];
    breaks_only_together(delivered_twice, rules, NO_SEAT_IS_SOLD_TWICE);
}

#[test]
fn without_locks_the_index_on_live_sales_still_keeps_seats_from_being_sold_twice() {
    let model = Settlement { batch_max: 1, ..overlapping() };
    holds("settlement, without locks", model.without(&[Rule::LockSeats]));
}

/// One crash, one lost session, one duplicate.
fn with_faults(model: Settlement) -> Settlement {
    Settlement { crashes: 1, lost_sessions: 1, duplicates: 1, ..model }
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_overlapping_bookings_are_settled_once() {
    holds("settlement, overlapping bookings", with_faults(Settlement { workers: 3, ..overlapping() }));
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_two_batches_of_two_workers_are_settled_once() {
    let model = Settlement { in_flight: 2, batch_max: 1, ..overlapping() };
    holds("settlement, two batches of two workers", with_faults(model));
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_a_retry_shares_the_outcome_of_its_first_try() {
    holds("settlement, a retry", Settlement { crashes: 2, ..with_faults(retried()) });
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_a_retry_of_a_seat_that_does_not_exist_is_settled_once() {
    holds("settlement, a retry without locks", with_faults(retried_without_locks()));
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_a_released_seat_is_sold_again_and_a_retry_of_its_sale_shares_it() {
    holds("settlement, a release", Settlement { crashes: 1, releases: 2, ..released(&[]) });
}

#[test]
#[ignore = "larger bounds, explored by `make model`"]
fn larger_two_keys_used_twice_each_deadlock_nowhere() {
    holds("settlement, two keys", with_faults(two_keys()));
}
