//! Controls of single concerts.

use std::num::NonZeroU32;

use hamro_shared::queue::ConcertControls;

use super::super::seats::{KnownSeats, Run};
use super::*;

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// Concert 1 has the seats from 1 to 100, concert 2 those from 101 to 200.
fn concert(number: u128) -> ConcertId {
    ConcertId(Uuid::from_u128(number))
}

fn seats() -> SeatIndex {
    let run =
        |number, first, last| Run { concert: concert(number), first: SeatId(first), last: SeatId(last) };
    let concerts = [concert(1), concert(2)];
    KnownSeats::default().update(&concerts, None, &concerts, vec![run(1, 1, 100), run(2, 101, 200)])
}

fn pause(number: u128) -> ConcertControls {
    ConcertControls { concert_id: concert(number), paused: true, accept_per_second: None }
}

fn limit(number: u128, per_second: u32) -> ConcertControls {
    let accept_per_second = NonZeroU32::new(per_second);
    ConcertControls { concert_id: concert(number), paused: false, accept_per_second }
}

/// `per_second` limits all bookings.
fn with_concerts(revision: i64, per_second: Option<u32>, concerts: &[ConcertControls]) -> StoredControls {
    let accept_per_second = per_second.and_then(NonZeroU32::new);
    let intake = IntakeControls { revision, intake_paused: false, accept_per_second };
    StoredControls { controls: Controls { intake, concerts: concerts.to_vec() }, change: None }
}

/// An instance that knows these controls and all seats.
fn controlled(number: u128, per_second: Option<u32>, concerts: &[ConcertControls]) -> Intake {
    let intake = instance(number);
    intake.on_stored(with_concerts(1, per_second, concerts), Instant::now());
    intake.on_seats(seats());
    intake
}

/// Instances that have run for a while without controls of concerts, and then learn these.
async fn instances(count: u128, per_second: Option<u32>, concerts: &[ConcertControls]) -> Vec<Intake> {
    let instances: Vec<Intake> = (1..=count).map(|number| controlled(number, None, &[])).collect();
    admitted(&instances, &vec![0; instances.len()], Duration::from_secs(5)).await;
    for intake in &instances {
        intake.on_stored(with_concerts(2, per_second, concerts), Instant::now());
    }
    instances
}

#[tokio::test(start_paused = true)]
async fn a_booking_is_subject_to_the_pause_of_each_concert_whose_seat_or_id_it_names() {
    let intake = controlled(1, None, &[pause(1)]);
    let paused = Err(NotAdmitted::ConcertPaused { concert: concert(1) });
    for (seats, named, expected) in [
        (&[7][..], None, paused),
        (&[101, 7], None, paused),
        (&[101], Some(concert(1)), paused),
        // Nothing is known of this seat.
        (&[999], Some(concert(1)), paused),
        (&[7], Some(concert(1)), paused),
        (&[101], None, Ok(())),
        (&[101], Some(concert(2)), Ok(())),
        (&[999], None, Ok(())),
    ] {
        assert_eq!(request(&intake, &booking(seats, named)), expected, "{seats:?} of {named:?}");
    }
    assert!(intake.is_open() && !intake.is_paused());
    intake.on_stored(with_concerts(2, None, &[]), Instant::now());
    assert_eq!(request(&intake, &booking(&[7], Some(concert(1)))), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn instances_together_admit_what_the_limit_of_a_concert_permits_whichever_are_asked() {
    let booking = [booking(&[7], None)];
    for requests in [&[500, 500][..], &[500, 0], &[40, 40], &[500, 5], &[60]] {
        let instances = instances(requests.len() as u128, None, &[limit(1, 50), pause(2)]).await;
        let total = admitted_of(&booking, &instances, requests, TEN_SECONDS).await;
        assert!((475..=525).contains(&total), "{total} in the first 10 s of {requests:?}");
        let total = admitted_of(&booking, &instances, requests, TEN_SECONDS).await;
        assert!((490..=510).contains(&total), "{total} in the next 10 s of {requests:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_demand_for_other_concerts_takes_no_part_of_a_concerts_limit() {
    let instances = instances(2, None, &[limit(1, 50), limit(2, 50)]).await;
    // One instance is asked for one concert, and the other for the other.
    let bookings = [booking(&[7], None), booking(&[107], None)];
    let total = admitted_of(&bookings, &instances, &[500, 200], TEN_SECONDS).await;
    assert!((950..=1_050).contains(&total), "{total}");
}

#[tokio::test(start_paused = true)]
async fn a_booking_that_a_concerts_limit_refuses_uses_up_nothing_of_any_other_limit() {
    let intake = controlled(1, Some(50), &[limit(1, 10), limit(2, 10)]);
    advance(TEN_SECONDS).await;
    exchange_heartbeats(std::slice::from_ref(&intake), Instant::now());
    advance(TEN_SECONDS).await;
    let of_both = booking(&[7, 107], None);
    // The buckets hold a quarter of a second: 13 of all bookings, and 3 of each concert.
    let is_admitted = |booking: &BookingRequest| request(&intake, booking).is_ok();
    assert_eq!((0..100).filter(|_| is_admitted(&booking(&[7], None))).count(), 3);
    let refused = request(&intake, &of_both);
    assert!(
        matches!(refused, Err(NotAdmitted::ConcertLimited { concert: refused, .. }) if refused == concert(1)),
        "{refused:?}"
    );
    for _ in 0..100 {
        assert!(!is_admitted(&of_both));
    }
    assert_eq!((0..100).filter(|_| is_admitted(&booking(&[107], None))).count(), 3);
    assert_eq!((0..100).filter(|_| is_admitted(&booking(&[999], None))).count(), 13 - 3 - 3);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_has_just_started_admits_nothing_before_it_knows_the_seats_of_controlled_concerts() {
    let intake = instance(1);
    intake.on_stored(with_concerts(1, None, &[pause(1)]), Instant::now());
    assert_eq!(request(&intake, &booking(&[101], None)), Err(NotAdmitted::NotKnown));
    intake.on_seats(seats());
    assert_eq!(request(&intake, &booking(&[101], None)), Ok(()));
    // Later, it goes on with the seats that it knows.
    let published = Published {
        controls: Some(with_concerts(2, None, &[]).controls.intake),
        concert_controls: Some(vec![pause(1), pause(3)]),
        ..Published::default()
    };
    intake.on_heartbeat(&heartbeat(2, published), Instant::now());
    assert_eq!(request(&intake, &booking(&[101], None)), Ok(()));
    assert!(request(&intake, &booking(&[7], None)).is_err());
    assert!(request(&intake, &booking(&[999], Some(concert(3)))).is_err());
}

#[tokio::test(start_paused = true)]
async fn controls_of_concerts_are_learned_from_heartbeats_and_kept_if_an_earlier_version_sends_none() {
    let (one, other) = (controlled(1, None, &[pause(1)]), controlled(2, None, &[]));
    one.on_stored(with_concerts(2, Some(70), &[pause(1), limit(2, 5)]), Instant::now());
    other.on_heartbeat(&heartbeat(1, one.complete(Published::default())), Instant::now());
    let expected = with_concerts(2, Some(70), &[pause(1), limit(2, 5)]).controls;
    assert_eq!(other.current().unwrap().controls, expected);
    let earlier =
        Published { controls: Some(with_concerts(3, None, &[]).controls.intake), ..Published::default() };
    other.on_heartbeat(&heartbeat(3, earlier), Instant::now());
    let kept = with_concerts(3, None, &[pause(1), limit(2, 5)]).controls;
    assert_eq!(other.current().unwrap().controls, kept);
}
