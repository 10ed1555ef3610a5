use serde_json::{Value, json};

use super::super::event_history::HISTORY_LENGTH;
use super::*;

const LAYOUT: LayoutVersion = LayoutVersion([0xab; 16]);

fn seats(booked: &[i32], free: &[i32]) -> BookedSeats {
    let mut seats: Vec<i32> = booked.iter().chain(free).copied().collect();
    seats.sort_unstable();
    BookedSeats::new(seats.into_iter().map(|id| (SeatId(id), booked.contains(&id))))
}

fn snapshot_of_three() -> Value {
    json!({"layoutVersion": "ab".repeat(16), "totalSeats": 3, "availableSeats": 2, "bookedSeatIds": [1]})
}

fn seat_map(booked: &[i32], free: &[i32]) -> SeatMapState {
    let mut seat_map = SeatMapState::new(0xa);
    seat_map.begin_reload();
    seat_map.apply_reload(seats(booked, free), LAYOUT);
    seat_map.broadcast_changes();
    seat_map
}

fn content(event: Option<Arc<SeatsEvent>>) -> (String, &'static str, Value) {
    let event = event.unwrap();
    (event.id.clone(), event.name, serde_json::from_str(&event.data).unwrap())
}

fn next(subscription: &mut Subscription) -> (String, &'static str, Value) {
    content(subscription.events.try_recv().ok())
}

#[test]
fn a_new_subscriber_receives_a_snapshot_and_then_changes() {
    let mut seat_map = seat_map(&[1], &[2, 3]);
    let mut subscription = seat_map.subscribe(None).unwrap();
    let all = snapshot_of_three();
    assert_eq!(content(subscription.first.take()), ("a-1".into(), "snapshot", all));
    seat_map.mark_sold(&[SeatId(2), SeatId(77)]);
    seat_map.mark_sold(&[SeatId(2)]);
    seat_map.broadcast_changes();
    seat_map.broadcast_changes();
    let change = json!({"availableSeats": 1, "bookedSeatIds": [2], "freedSeatIds": []});
    assert_eq!(next(&mut subscription), ("a-2".into(), "change", change));
    assert!(subscription.events.try_recv().is_err());
}

#[test]
fn a_returning_subscriber_receives_all_missed_changes_in_one_event() {
    let mut seat_map = seat_map(&[1], &[2, 3, 4]);
    for seat in [2, 3] {
        seat_map.mark_sold(&[SeatId(seat)]);
        seat_map.broadcast_changes();
    }
    let missed = json!({"availableSeats": 1, "bookedSeatIds": [2, 3], "freedSeatIds": []});
    assert_eq!(content(seat_map.subscribe(Some("a-1")).unwrap().first), ("a-3".into(), "change", missed));
    assert_eq!(seat_map.subscribe(Some("a-3")).unwrap().first, None);
}

#[test]
fn an_unknown_or_too_old_event_id_yields_a_snapshot() {
    let mut seat_map = seat_map(&[1], &[2]);
    for id in ["b-1", "a-0", "a-2", "a", "", "a--1", "a-99999999999999999999"] {
        assert_eq!(content(seat_map.subscribe(Some(id)).unwrap().first).1, "snapshot", "{id}");
    }
    for turn in 0..HISTORY_LENGTH {
        seat_map.begin_reload();
        let all_booked = turn % 2 == 0;
        seat_map.apply_reload(if all_booked { seats(&[1, 2], &[]) } else { seats(&[], &[1, 2]) }, LAYOUT);
        seat_map.broadcast_changes();
    }
    assert_eq!(content(seat_map.subscribe(Some("a-1")).unwrap().first).1, "change");
    seat_map.mark_sold(&[SeatId(1)]);
    seat_map.mark_sold(&[SeatId(2)]);
    seat_map.broadcast_changes();
    assert_eq!(content(seat_map.subscribe(Some("a-1")).unwrap().first).1, "snapshot");
}

#[test]
fn a_client_that_subscribes_between_two_events_misses_no_change() {
    let mut seat_map = seat_map(&[1], &[2, 3]);
    let early = content(seat_map.subscribe(None).unwrap().first);
    seat_map.mark_sold(&[SeatId(2)]);
    let mut late = seat_map.subscribe(None).unwrap();
    assert_eq!(content(late.first.take()), early, "the snapshot is not rebuilt");
    seat_map.broadcast_changes();
    assert_eq!(next(&mut late).2["bookedSeatIds"], json!([2]));
}

#[test]
fn closing_a_seat_map_ends_its_streams() {
    let mut seat_map = seat_map(&[1], &[2]);
    let mut subscription = seat_map.subscribe(None).unwrap();
    seat_map.close();
    assert_eq!(next(&mut subscription).1, "catalogue");
    assert!(matches!(subscription.events.try_recv(), Err(broadcast::error::TryRecvError::Closed)));
    assert!(seat_map.subscribe(None).is_none());
}

#[test]
fn a_reload_does_not_undo_a_sale_announced_while_it_was_running() {
    let mut seat_map = seat_map(&[], &[1, 2]);
    seat_map.begin_reload();
    seat_map.mark_sold(&[SeatId(1)]);
    seat_map.apply_reload(seats(&[2], &[1]), LAYOUT);
    assert_eq!(seat_map.available(), 0);
}

#[test]
fn a_seat_map_with_added_seats_is_sent_as_a_snapshot() {
    let mut seat_map = seat_map(&[1], &[2]);
    let mut subscription = seat_map.subscribe(None).unwrap();
    seat_map.begin_reload();
    seat_map.apply_reload(seats(&[1], &[2, 3]), LAYOUT);
    seat_map.broadcast_changes();
    let all = snapshot_of_three();
    assert_eq!(next(&mut subscription), ("a-2".into(), "snapshot", all));
    assert_eq!(content(seat_map.subscribe(Some("a-1")).unwrap().first).1, "snapshot");
}

#[test]
fn a_renamed_seat_is_sent_as_a_snapshot_with_the_new_layout_version() {
    let mut seat_map = seat_map(&[1], &[2, 3]);
    let mut subscription = seat_map.subscribe(None).unwrap();
    seat_map.begin_reload();
    seat_map.apply_reload(seats(&[1], &[2, 3]), LayoutVersion([0xcd; 16]));
    seat_map.broadcast_changes();
    let (_, name, data) = next(&mut subscription);
    assert_eq!((name, &data["layoutVersion"]), ("snapshot", &json!("cd".repeat(16))));
}

#[test]
fn the_events_after_the_id_of_the_latest_one_contain_every_later_change() {
    let mut seat_map = seat_map(&[1], &[2, 3]);
    seat_map.mark_sold(&[SeatId(2)]);
    let (id, revision) = (seat_map.last_event_id(), seat_map.revision());
    seat_map.mark_sold(&[SeatId(3)]);
    assert!(seat_map.revision() > revision);
    seat_map.broadcast_changes();
    let first = content(seat_map.subscribe(Some(&id)).unwrap().first);
    assert_eq!(first.2["bookedSeatIds"], json!([2, 3]));
}

#[test]
fn subscribers_receive_each_version_of_the_concert_once_and_the_deletion_before_the_end() {
    let mut seat_map = seat_map(&[1], &[2]);
    let mut early = seat_map.subscribe(None).unwrap();
    assert_eq!(early.catalogue, None, "not known yet");
    let version = |text: &str| ("a-1".to_owned(), "catalogue", json!({"version": text}));
    for text in ["first", "first", "second"] {
        seat_map.set_catalogue_version(text.to_owned());
    }
    assert_eq!([next(&mut early), next(&mut early)], [version("first"), version("second")]);
    // Also one that has missed nothing of the seats.
    assert_eq!(content(seat_map.subscribe(Some("a-1")).unwrap().catalogue), version("second"));
    seat_map.close();
    assert_eq!(next(&mut early), version("deleted"));
    assert!(early.events.try_recv().is_err());
    assert!(seat_map.subscribe(None).is_none());
}
