use hamro_shared::domain::{CustomerName, Email, KeyDigest, SeatLabel, Timestamp};
use hamro_shared::epoch::History;
use hamro_shared::queue::AnnouncedConcert;
use uuid::Uuid;

use super::super::concert::Terms;
use super::super::layout::Layout;
use super::super::sales::Sales;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HISTORY: History = History { epoch: Uuid::from_u128(1), timeline: 1 };

fn now() -> Moment {
    Moment { since_boot: SECOND, time: Timestamp::from_unix_millis(0).unwrap() }
}

fn id(concert: u128) -> ConcertId {
    ConcertId(Uuid::from_u128(concert))
}

fn version(freed_version: i64) -> SeatsVersion {
    SeatsVersion { history: HISTORY, freed_version }
}

fn concert(number: u128, seats: impl IntoIterator<Item = i32>) -> Concert {
    let mut layout = Layout::default();
    for seat in seats {
        let (section, seat_number) = ("front".to_owned(), format!("F-{seat}"));
        layout.push(&SeatLabel { id: SeatId(seat), section, row: 1, seat_number });
    }
    let sales = Sales::none(layout.len());
    Concert::new(id(number), layout, sales, version(1), Terms::default())
}

/// Concert 1 has the seats 1 to 3 and 10, concert 2 the seats 4 and 5. Both were just compared.
fn concerts() -> Concerts {
    let mut concerts = Concerts::default();
    for concert in [concert(1, [1, 2, 3, 10]), concert(2, [4, 5])] {
        let id = concert.id;
        assert!(concerts.end_load(id, Some(concert)).is_empty());
        compare(&mut concerts, id, 1);
    }
    concerts
}

fn compare(concerts: &mut Concerts, id: ConcertId, freed_version: i64) {
    let compared = Compared { version: version(freed_version), terms: Terms::default(), free: 4 };
    concerts.compare(id, compared, 4, SECOND);
}

fn announce(concerts: &mut Concerts, concert: u128, freed_version: i64, seats: &[(i32, Option<KeyDigest>)]) {
    let seats = seats.iter().map(|(seat, key)| (SeatId(*seat), *key)).collect();
    concerts.learn(&AnnouncedSales {
        history: HISTORY,
        digest_version: hamro_shared::domain::IdempotencyDigest::VERSION,
        concerts: vec![AnnouncedConcert { concert_id: id(concert), freed_version, seats }],
    });
}

fn request(seats: &[i32], concert: Option<ConcertId>) -> BookingRequest {
    let (name, email) = (CustomerName::parse("Alice").unwrap(), Email::parse("alice@example.com").unwrap());
    BookingRequest::new(name, email, seats.iter().copied().map(SeatId).collect(), concert).unwrap()
}

fn judge(concerts: &Concerts, seats: &[i32]) -> Verdict {
    concerts.judge(&request(seats, None), None, now())
}

/// The code of the rejection, and the seats that it names.
fn rejected(verdict: Verdict) -> (&'static str, Vec<i32>) {
    match verdict {
        Verdict::Reject(rejection) => {
            let code = rejection.code();
            let (Rejection::SeatsTaken { seat_ids, seats } | Rejection::SoldOut { seat_ids, seats }) =
                rejection
            else {
                panic!("{code}")
            };
            assert!(seats.iter().map(|seat| seat.id).eq(seat_ids.iter().copied()));
            assert!(seats.iter().all(|seat| seat.seat_number == format!("F-{}", seat.id)));
            (code, seat_ids.iter().map(|seat| seat.0).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rejection_names_the_sold_seats_in_the_order_of_the_request() {
    let mut concerts = concerts();
    announce(&mut concerts, 1, 1, &[(3, None), (1, None)]);
    assert_eq!(rejected(judge(&concerts, &[3, 2, 1])), ("seats-taken", vec![3, 1]));
    assert_eq!(rejected(judge(&concerts, &[5, 3])), ("seats-taken", vec![3]));
    assert_eq!(judge(&concerts, &[2, 10]), Verdict::Queue);
}

#[test]
fn sold_out_is_reported_when_no_seat_of_the_wanted_concerts_is_left() {
    let mut concerts = concerts();
    announce(&mut concerts, 2, 1, &[(4, None), (5, None)]);
    assert_eq!(rejected(judge(&concerts, &[5])), ("sold-out", vec![5]));
    assert_eq!(rejected(judge(&concerts, &[5, 1])), ("seats-taken", vec![5]), "concert 1 has seats left");
}

/// A worker would report the unknown seat, or the wrong concert.
#[test]
fn a_booking_is_queued_unless_all_its_seats_are_known_and_in_the_named_concert() {
    let mut concerts = concerts();
    announce(&mut concerts, 1, 1, &[(1, None)]);
    for unknown in [&[1, 6][..], &[11], &[1, 9], &[i32::MAX], &[7, 1]] {
        assert_eq!(judge(&concerts, unknown), Verdict::QueueUnknown, "{unknown:?}");
    }
    let named = |concert| concerts.judge(&request(&[1], Some(id(concert))), None, now());
    assert_eq!(named(2), Verdict::Queue);
    assert_eq!(rejected(named(1)), ("seats-taken", vec![1]));
}

#[test]
fn all_concerts_of_a_booking_must_have_been_compared() {
    let mut concerts = concerts();
    announce(&mut concerts, 1, 1, &[(1, None)]);
    compare(&mut concerts, id(2), 2);
    assert_eq!(judge(&concerts, &[1, 4]), Verdict::Queue);
    assert_eq!(rejected(judge(&concerts, &[1])), ("seats-taken", vec![1]));
}

#[test]
fn a_key_under_which_a_seat_was_sold_is_queued_and_another_one_is_rejected() {
    let mut concerts = concerts();
    let (own, other) = (IdempotencyKey::new("own").unwrap(), IdempotencyKey::new("other").unwrap());
    let request = request(&[1], None);
    announce(&mut concerts, 1, 1, &[(1, Some(own.digest(request.user_email()).short()))]);
    assert_eq!(concerts.judge(&request, Some(&own), now()), Verdict::Queue);
    assert_eq!(rejected(concerts.judge(&request, Some(&other), now())), ("seats-taken", vec![1]));
    assert_eq!(rejected(concerts.judge(&request, None, now())), ("seats-taken", vec![1]));
}

#[test]
fn a_sale_that_is_announced_while_its_concert_is_loaded_is_not_missed() {
    let mut concerts = Concerts::default();
    concerts.begin_load(id(1));
    announce(&mut concerts, 1, 1, &[(1, None)]);
    announce(&mut concerts, 1, 2, &[(2, None)]);
    concerts.end_load(id(1), Some(concert(1, [1, 2])));
    compare(&mut concerts, id(1), 1);
    assert_eq!(
        rejected(judge(&concerts, &[1, 2])),
        ("seats-taken", vec![1]),
        "seat 2 was sold in another state"
    );
    concerts.begin_load(id(1));
    concerts.end_load(id(1), None);
    assert_eq!(judge(&concerts, &[1]), Verdict::QueueUnknown);
}

#[test]
fn the_concerts_that_were_not_used_for_longest_make_room() {
    let mut concerts = Concerts { bytes_max: 500_000, ..Concerts::default() };
    let seats = 5_000;
    let mut evicted = 0;
    for number in 1..=12 {
        let first = i32::try_from(number).unwrap() * 1_000_000;
        let concert = concert(number, first..first + seats);
        concert.use_now(SECOND * u32::try_from(number).unwrap());
        evicted += concerts.end_load(id(number), Some(concert)).len();
        assert!(concerts.bytes() <= 500_000);
    }
    assert!(evicted > 0);
    assert!(!concerts.knows(SeatId(1_000_000)), "the first was used last");
    assert!(concerts.knows(SeatId(12_000_000)));
    assert_eq!(concerts.iter().count(), 12 - evicted);
    for number in 1..=12 {
        concerts.end_load(id(number), None);
    }
    assert_eq!((concerts.bytes(), concerts.runs.len()), (0, 0));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whatever concerts there are, a seat is found in its own concert, and no other seat is found.
    #[test]
    fn every_seat_is_found_in_its_concert(owners in proptest::collection::vec(0..4_u128, 1..40)) {
        let mut concerts = Concerts::default();
        let seats_of = |concert: u128| {
            let owned = owners.iter().enumerate().filter(move |(_, owner)| **owner == concert);
            owned.map(|(seat, _)| i32::try_from(seat).unwrap() + 1).collect::<Vec<_>>()
        };
        for number in 1..4 {
            concerts.end_load(id(number), Some(concert(number, seats_of(number))));
        }
        concerts.end_load(id(2), None);
        for (seat, owner) in (1..).zip(&owners) {
            let found = concerts.find(SeatId(seat)).map(|(concert, place)| (concert.id, concert.layout.label(place).id));
            let expected = [1, 3].contains(owner).then_some((id(*owner), SeatId(seat)));
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
