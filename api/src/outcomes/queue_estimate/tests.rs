use hamro_shared::domain::{Outcome, SettledTicket, TicketId};
use hamro_shared::queue::{SettledEvent, WorkerState};

use super::*;

/// The time at which all of these tests begin.
const START: i64 = 1_795_364_062_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(START + millis).unwrap()
}

/// An estimate whose clock stands still.
fn estimate() -> QueueEstimate {
    QueueEstimate::new(Clock::stopped_at(at(0)))
}

/// An estimate that tracks a queue with this many messages.
fn tracking(messages: u32, now: Instant) -> QueueEstimate {
    let estimate = estimate();
    read_depth(&estimate, messages, FIRST_READING, now);
    estimate
}

fn read_depth(estimate: &QueueEstimate, messages: u32, times: u32, now: Instant) {
    (0..times).for_each(|_| estimate.record_depth(Counted { messages, consumers: 1 }, now));
}

fn issue(estimate: &QueueEstimate, millis: std::ops::Range<i64>) {
    for millis in millis {
        estimate.on_issued(at(millis));
        estimate.on_confirmed([at(millis)].into_iter());
    }
}

fn settle(estimate: &QueueEstimate, newly_settled: usize, bookings: u32) {
    let ticket =
        SettledTicket { ticket_id: TicketId::last_of(at(0)), settled_at: at(0), outcome: Outcome::Expired };
    let event =
        SettledEvent { tickets: vec![ticket; newly_settled], bookings, parcels: bookings, sales: vec![] };
    estimate.on_settled(&RawSettledEvent::decode(&event.encode()).unwrap());
}

fn worker(id: u128, bookings: u64, rate: Option<f64>) -> Heartbeat {
    let worker =
        WorkerState { consuming: true, messages: bookings, bookings, rate, ..WorkerState::default() };
    heartbeat(id, ProcessState::Worker(worker))
}

fn instance(id: u128, bookings: u64) -> Heartbeat {
    heartbeat(id, ProcessState::Api(Published { messages: bookings, bookings, ..Published::default() }))
}

fn heartbeat(id: u128, state: ProcessState) -> Heartbeat {
    Heartbeat { process: Uuid::from_u128(id), version: "test".to_owned(), state }
}

fn ahead(estimate: &QueueEstimate, millis: i64, now: Instant) -> Option<u64> {
    estimate.position(at(millis), now).ahead
}

#[test]
fn unknown_values_are_none() {
    let (estimate, now) = (estimate(), Instant::now());
    issue(&estimate, 0..3);
    read_depth(&estimate, 10, FIRST_READING - 1, now);
    assert_eq!((estimate.depth(), estimate.workers(now), estimate.drain_rate(now)), (None, None, None));
    assert_eq!(estimate.position(at(1), now), QueuePosition::default());
    assert_eq!(estimate.eta(0, now), None);
}

#[test]
fn the_last_of_1000_bookings_has_999_ahead_while_no_worker_runs() {
    let now = Instant::now();
    let estimate = tracking(0, now);
    issue(&estimate, 0..1000);
    assert_eq!([0, 500, 999].map(|millis| ahead(&estimate, millis, now)), [Some(0), Some(500), Some(999)]);
    read_depth(&estimate, 1000, 60, now);
    assert_eq!((ahead(&estimate, 999, now), estimate.depth()), (Some(999), Some(1000)));
    assert_eq!((estimate.workers(now), estimate.position(at(999), now).eta_seconds), (Some(0), None));
}

#[test]
fn a_broker_that_counts_nothing_while_workers_consume_changes_nothing() {
    let now = Instant::now();
    let estimate = estimate();
    estimate.on_heartbeat(worker(1, 0, Some(100.0)), now);
    read_depth(&estimate, 1000, FIRST_READING, now);
    let known = estimate.depth();
    assert!(known > Some(0));
    let nothing = Counted { messages: 0, consumers: 0 };
    (0..60).for_each(|_| estimate.record_depth(nothing, now));
    assert_eq!(estimate.depth(), known);
    read_depth(&estimate, 0, 60, now);
    assert_eq!(estimate.depth(), Some(0), "the queue is empty, and has consumers");
}

#[test]
fn bookings_that_a_worker_holds_are_ahead_although_the_queue_is_empty() {
    let now = Instant::now();
    let estimate = estimate();
    estimate.on_heartbeat(worker(1, 300, Some(100.0)), now);
    read_depth(&estimate, 0, FIRST_READING, now);
    issue(&estimate, 0..1);
    assert_eq!(estimate.position(at(0), now), QueuePosition { ahead: Some(300), eta_seconds: Some(3) });
    assert_eq!((estimate.depth(), estimate.workers(now)), (Some(301), Some(1)));
    settle(&estimate, 300, 300);
    assert_eq!(estimate.position(at(0), now), QueuePosition { ahead: Some(0), eta_seconds: Some(1) });
}

#[test]
fn bookings_that_move_to_a_worker_before_its_heartbeat_arrives_stay_ahead() {
    let now = Instant::now();
    let estimate = tracking(0, now);
    estimate.on_heartbeat(worker(1, 0, None), now);
    issue(&estimate, 0..300);
    read_depth(&estimate, 0, 2, now);
    estimate.on_heartbeat(worker(1, 300, None), now);
    read_depth(&estimate, 0, 10, now);
    assert_eq!((ahead(&estimate, 299, now), estimate.depth()), (Some(299), Some(300)));
}

#[test]
fn a_booking_that_is_settled_a_second_time_does_not_count_again() {
    let now = Instant::now();
    let estimate = tracking(0, now);
    issue(&estimate, 0..100);
    settle(&estimate, 40, 40);
    settle(&estimate, 0, 40);
    settle(&estimate, 10, 50);
    assert_eq!((ahead(&estimate, 99, now), estimate.depth()), (Some(49), Some(50)));
}

#[test]
fn positions_stay_while_it_is_unknown_what_a_silent_worker_holds() {
    let now = Instant::now();
    let estimate = tracking(0, now);
    issue(&estimate, 0..300);
    estimate.on_heartbeat(worker(1, 300, None), now);
    read_depth(&estimate, 0, 10, now);
    let later = now + Duration::from_secs(5);
    for messages in [0, 300] {
        read_depth(&estimate, messages, 10, later);
        assert_eq!((ahead(&estimate, 299, later), estimate.depth()), (Some(299), Some(300)), "{messages}");
    }
    assert_eq!((estimate.workers(later), estimate.eta(299, later)), (Some(0), None));
}

#[test]
fn a_lost_announcement_lowers_positions_after_some_readings() {
    let now = Instant::now();
    let estimate = tracking(0, now);
    issue(&estimate, 0..100);
    read_depth(&estimate, 30, 2, now);
    assert_eq!(ahead(&estimate, 99, now), Some(99));
    read_depth(&estimate, 30, 1, now);
    assert_eq!((ahead(&estimate, 99, now), estimate.depth()), (Some(29), Some(30)));
}

#[test]
fn bookings_that_nobody_has_counted_are_ahead_of_later_tickets_only() {
    let now = Instant::now();
    let estimate = tracking(0, now);
    issue(&estimate, 0..1);
    read_depth(&estimate, 51, 3, now);
    issue(&estimate, 100..101);
    assert_eq!((ahead(&estimate, 0, now), ahead(&estimate, 100, now)), (Some(0), Some(51)));
}

#[test]
fn a_booking_that_was_refused_is_ahead_of_no_later_ticket() {
    let now = Instant::now();
    let estimate = tracking(0, now);
    estimate.on_issued(at(0));
    estimate.on_refused(1);
    issue(&estimate, 1..2);
    assert_eq!((ahead(&estimate, 1, now), estimate.depth()), (Some(0), Some(1)));
}

#[test]
fn unconfirmed_bookings_are_not_missing() {
    let now = Instant::now();
    let estimate = tracking(0, now);
    (0..10).for_each(|millis| estimate.on_issued(at(millis)));
    read_depth(&estimate, 0, 10, now);
    assert_eq!(estimate.depth(), Some(10));
    estimate.on_publisher_lost();
    read_depth(&estimate, 0, 3, now);
    assert_eq!(estimate.depth(), Some(0));
}

#[test]
fn bookings_of_other_instances_are_ahead_once_their_heartbeats_have_arrived() {
    let time = Arc::new(Mutex::new(at(0)));
    let shown = time.clone();
    let estimate = QueueEstimate::new(Clock::new(move || *shown.lock().unwrap()));
    let now = Instant::now();
    estimate.on_heartbeat(instance(2, 5_000), now);
    read_depth(&estimate, 0, FIRST_READING, now);
    issue(&estimate, 100..101);
    assert_eq!((ahead(&estimate, 100, now), ahead(&estimate, -1, now)), (None, None));
    *time.lock().unwrap() = at(200);
    estimate.on_heartbeat(instance(2, 5_400), now);
    let first = ahead(&estimate, 100, now).unwrap();
    assert!((150..=200).contains(&first), "{first}");
    assert_eq!(estimate.depth(), Some(401));
    *time.lock().unwrap() = at(700);
    estimate.on_heartbeat(instance(2, 9_000), now);
    assert_eq!(ahead(&estimate, 100, now), Some(first));
}

#[test]
fn a_gap_makes_earlier_tickets_unknown() {
    let now = Instant::now();
    let estimate = tracking(0, now);
    issue(&estimate, -5..-4);
    issue(&estimate, 0..1);
    assert_eq!((ahead(&estimate, -5, now), ahead(&estimate, 0, now)), (None, Some(0)));
    estimate.start_over();
    assert_eq!((ahead(&estimate, 0, now), estimate.depth()), (None, None));
}
