//! Compatibility with the messages and rows of earlier versions. During an upgrade, old and new versions read each
//! other's data. The constants here are the exact texts that the first versions write. The current version must read
//! them, and must write the same bytes, so that older versions can read them too. It may add members, which older versions
//! ignore. Never change one of these texts; add another one.

use hamro_shared::domain::{
    Amount, Booking, BookingRequest, ConcertId, CustomerName, Email, IdempotencyKey, KeyDigest, Outcome,
    Price, Rejection, SeatId, SeatLabel, SettledTicket, SoldSeat, Ticket, TicketId, TierId, Timestamp,
};
use hamro_shared::queue::{Envelope, Parcel, RawSettledEvent, SettledEvent};
use rust_decimal::Decimal;
use uuid::{Uuid, uuid};

const TICKET: Uuid = uuid!("019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88");
const CONCERT: Uuid = uuid!("755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11");

const CONFIRMED: &str = r#"{"status":"confirmed","booking":{"id":40205,"userName":"Alice","userEmail":"alice@example.com","ticketData":[{"concertId":"755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11","ticketTierId":2,"quantity":2,"pricePerTicket":"50.00","totalAmount":"100.00","status":"SUCCESS","createdAt":"2026-11-22T16:14:22.341Z","seatNumbers":["F-1","F-2"]},{"concertId":"755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11","ticketTierId":3,"quantity":1,"pricePerTicket":"0.00","totalAmount":"0.00","status":"SUCCESS","createdAt":"2026-11-22T16:14:22.341Z","seatNumbers":["G-1"]}],"seatIds":[21,22,41]}}"#;

/// Ten seats at the highest price. The first versions write this but cannot read it.
const MOST_EXPENSIVE: &str = r#"{"status":"confirmed","booking":{"id":1,"userName":"Alice","userEmail":"alice@example.com","ticketData":[{"concertId":"755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11","ticketTierId":2,"quantity":10,"pricePerTicket":"9999999999.99","totalAmount":"99999999999.90","status":"SUCCESS","createdAt":"2026-11-22T16:14:22.341Z","seatNumbers":["F-0","F-1","F-2","F-3","F-4","F-5","F-6","F-7","F-8","F-9"]}],"seatIds":[0,1,2,3,4,5,6,7,8,9]}}"#;

/// A booking with an expected total, which has version 2 so that earlier versions do not settle it.
const EXPECTING: &str = r#"[{"v":2,"kind":"book","ticketId":"019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88","deadline":"2026-11-22T16:14:22.341Z","request":{"userName":"Alice","userEmail":"Alice@example.com","seatIds":[21],"expectedTotal":"20.00"}}]"#;

/// The member that later versions add to the booking of [`CONFIRMED`].
const SEATS: &str = r#","seats":[{"id":21,"section":"front","row":1,"seatNumber":"F-1"},{"id":22,"section":"front","row":1,"seatNumber":"F-2"},{"id":41,"section":"front","row":1,"seatNumber":"G-1"}]"#;

const REJECTIONS: [&str; 6] = [
    r#"{"code":"seats-taken","seatIds":[21,22]}"#,
    r#"{"code":"sold-out","seatIds":[21]}"#,
    r#"{"code":"seats-not-found","seatIds":[9999]}"#,
    r#"{"code":"sale-not-open","opensAt":"2026-11-22T16:14:22.341Z"}"#,
    r#"{"code":"sale-closed","closedAt":"2026-11-22T16:14:22.341Z"}"#,
    r#"{"code":"idempotency-key-reused"}"#,
];

/// Rejections with the members and codes that later versions add.
const LATER_REJECTIONS: [&str; 7] = [
    r#"{"code":"seats-taken","seatIds":[21],"seats":[{"id":21,"section":"front","row":1,"seatNumber":"F-1"}]}"#,
    r#"{"code":"sold-out","seatIds":[21],"seats":[{"id":21,"section":"front","row":1,"seatNumber":"F-1"}]}"#,
    r#"{"code":"seats-not-found","seatIds":[9999],"seats":[]}"#,
    r#"{"code":"seats-not-found","seatIds":[21],"seats":[{"id":21,"section":"front","row":1,"seatNumber":"F-1"}],"missingConcertId":"755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"}"#,
    r#"{"code":"limit-reached","concertId":"755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11","limit":4,"heldSeats":3}"#,
    r#"{"code":"limit-reached","concertId":"755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11","limit":4}"#,
    r#"{"code":"price-changed","total":"99.00","expectedTotal":"20.00"}"#,
];

const PARCEL: &str = r#"[{"v":1,"kind":"book","ticketId":"019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88","deadline":"2026-11-22T16:14:22.341Z","idempotencyKey":"6e1f3a52","request":{"userName":"Alice","userEmail":"Alice@example.com","seatIds":[22,21],"concertId":"755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"}},{"v":1,"kind":"book","ticketId":"019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88","deadline":"2026-11-22T16:14:22.341Z","request":{"userName":"Alice","userEmail":"Alice@example.com","seatIds":[21]}}]"#;

fn at() -> Timestamp {
    Timestamp::from_unix_millis(1_795_364_062_341).unwrap()
}

fn label(id: i32, number: &str) -> SeatLabel {
    SeatLabel { id: SeatId(id), section: "front".to_owned(), row: 1, seat_number: number.to_owned() }
}

fn seat(id: i32, number: &str, tier: i32, price: &str) -> SoldSeat {
    SoldSeat {
        label: label(id, number),
        concert_id: ConcertId(CONCERT),
        tier_id: TierId(tier),
        price: Price::new(price.parse::<Decimal>().unwrap()).unwrap(),
    }
}

fn confirmed(sale: i64, seats: Vec<SoldSeat>) -> Outcome {
    let (name, email) = (CustomerName::parse("Alice").unwrap(), Email::parse("alice@example.com").unwrap());
    Outcome::Confirmed { booking: Booking::of_sale(sale, name, email, at(), seats) }
}

fn most_expensive() -> Outcome {
    let seats = (0..10).map(|id| seat(id, &format!("F-{id}"), 2, "9999999999.99"));
    confirmed(1, seats.collect())
}

fn rejections() -> [Rejection; 6] {
    [
        Rejection::SeatsTaken { seat_ids: vec![SeatId(21), SeatId(22)], seats: Vec::new() },
        Rejection::SoldOut { seat_ids: vec![SeatId(21)], seats: Vec::new() },
        Rejection::SeatsNotFound { seat_ids: vec![SeatId(9999)], seats: None, missing_concert_id: None },
        Rejection::SaleNotOpen { opens_at: at() },
        Rejection::SaleClosed { closed_at: at() },
        Rejection::IdempotencyKeyReused,
    ]
}

fn all_rejections() -> impl Iterator<Item = (Rejection, &'static str)> {
    let later = later_rejections().into_iter().zip(LATER_REJECTIONS);
    rejections().into_iter().zip(REJECTIONS).chain(later)
}

fn later_rejections() -> [Rejection; 7] {
    let (seat_ids, seats) = (vec![SeatId(21)], vec![label(21, "F-1")]);
    [
        Rejection::SeatsTaken { seat_ids: seat_ids.clone(), seats: seats.clone() },
        Rejection::SoldOut { seat_ids: seat_ids.clone(), seats: seats.clone() },
        Rejection::SeatsNotFound {
            seat_ids: vec![SeatId(9999)],
            seats: Some(Vec::new()),
            missing_concert_id: None,
        },
        Rejection::SeatsNotFound {
            seat_ids,
            seats: Some(seats),
            missing_concert_id: Some(ConcertId(CONCERT)),
        },
        Rejection::LimitReached { concert_id: ConcertId(CONCERT), limit: 4, held_seats: Some(3) },
        Rejection::LimitReached { concert_id: ConcertId(CONCERT), limit: 4, held_seats: None },
        Rejection::PriceChanged {
            total: Amount::parse("99.00").unwrap(),
            expected_total: Amount::parse("20.00").unwrap(),
        },
    ]
}

/// The JSON of a confirmed outcome with this member added to the booking.
fn with_seats(confirmed: &str, seats: &str) -> String {
    format!("{}{seats}}}}}", confirmed.strip_suffix("}}").unwrap())
}

/// Every outcome that the first versions know, and the JSON that this version writes for it.
fn outcomes() -> Vec<(Outcome, String)> {
    let seats = vec![seat(21, "F-1", 2, "50"), seat(22, "F-2", 2, "50"), seat(41, "G-1", 3, "0")];
    let mut outcomes = vec![
        (confirmed(40205, seats), with_seats(CONFIRMED, SEATS)),
        (Outcome::Expired, r#"{"status":"expired"}"#.to_owned()),
        (Outcome::Failed, r#"{"status":"failed"}"#.to_owned()),
    ];
    for (rejection, json) in all_rejections() {
        let json = format!(r#"{{"status":"rejected","rejection":{json}}}"#);
        outcomes.push((Outcome::Rejected { rejection }, json));
    }
    outcomes
}

fn announcement(json: &str) -> String {
    format!(
        r#"{{"tickets":[{{"ticketId":"{TICKET}","settledAt":"2026-11-22T16:14:22.341Z","outcome":{json}}}],"bookings":3,"parcels":2}}"#
    )
}

fn message(outcome: Outcome) -> SettledEvent {
    let ticket = SettledTicket { ticket_id: TicketId(TICKET), settled_at: at(), outcome };
    SettledEvent { tickets: vec![ticket], bookings: 3, parcels: 2, sales: vec![] }
}

#[test]
fn announcements_are_compatible_with_earlier_versions() {
    for (outcome, json) in outcomes() {
        let text = announcement(&json);
        let received = RawSettledEvent::decode(text.as_bytes()).unwrap();
        assert_eq!((received.bookings, received.parcels), (3, 2));
        assert_eq!(received.tickets[0].decode().unwrap().outcome, outcome);
        assert_eq!(String::from_utf8(message(outcome).encode()).unwrap(), text);
    }
}

/// What was sold follows what earlier instances read, which ignore other members.
#[test]
fn announced_sales_are_appended_to_the_announcement_of_earlier_versions() {
    let (_, json) = outcomes().remove(0);
    let text = announcement(&json);
    let sales = r#","sales":[{"epoch":"00000000-0000-0000-0000-000000000007","timeline":1,"digestVersion":1,"concerts":[{"concertId":"00000000-0000-0000-0000-000000000009","freedVersion":1795710690556515,"seats":[[21,81985529216486895],[22,null]]}]}]}"#;
    let later = format!("{}{sales}", text.strip_suffix('}').unwrap());
    let received = RawSettledEvent::decode(later.as_bytes()).unwrap();
    assert_eq!(
        received.sales[0].concerts[0].seats,
        [(SeatId(21), Some(KeyDigest(0x0123_4567_89ab_cdef))), (SeatId(22), None)]
    );
    let (outcome, _) = outcomes().remove(0);
    let sent = SettledEvent { sales: received.sales, ..message(outcome) };
    assert_eq!(String::from_utf8(sent.encode()).unwrap(), later);
    // From a worker of an earlier version.
    assert_eq!(RawSettledEvent::decode(text.as_bytes()).unwrap().sales, []);
}

#[test]
fn the_announcement_of_the_most_expensive_sale_is_compatible_with_earlier_versions() {
    let seats = (0..10).map(|id| serde_json::to_string(&label(id, &format!("F-{id}"))).unwrap());
    let seats = format!(",\"seats\":[{}]", seats.collect::<Vec<_>>().join(","));
    let text = announcement(&with_seats(MOST_EXPENSIVE, &seats));
    let received = RawSettledEvent::decode(text.as_bytes()).unwrap();
    assert_eq!(received.tickets[0].decode().unwrap().outcome, most_expensive());
    assert_eq!(String::from_utf8(message(most_expensive()).encode()).unwrap(), text);
}

#[test]
fn a_sale_that_an_earlier_worker_announced_is_read_from_the_database_which_knows_its_seats() {
    let received = RawSettledEvent::decode(announcement(CONFIRMED).as_bytes()).unwrap();
    let error = received.tickets[0].decode().unwrap_err();
    assert!(error.to_string().contains("missing field `seats`"), "{error}");
    // Seat maps need no labels.
    let sold = received.tickets[0].sold().unwrap().unwrap();
    assert_eq!(sold.seats, [21, 22, 41].map(SeatId));
}

#[test]
fn stored_rejections_are_compatible_with_earlier_versions() {
    for (rejection, json) in all_rejections() {
        assert_eq!(serde_json::from_str::<Rejection>(json).unwrap(), rejection);
        assert_eq!(serde_json::to_string(&rejection).unwrap(), json);
    }
}

#[test]
fn envelopes_are_compatible_with_earlier_versions() {
    let ticket = Ticket { id: TicketId(TICKET), deadline: at() };
    let request = |seats: &[i32], concert| {
        let (name, email) =
            (CustomerName::parse("Alice").unwrap(), Email::parse("Alice@example.com").unwrap());
        BookingRequest::new(name, email, seats.iter().copied().map(SeatId).collect(), concert).unwrap()
    };
    let idempotency_key = Some(IdempotencyKey::new("6e1f3a52").unwrap());
    let envelopes = [
        Envelope {
            ticket,
            idempotency_key,
            request: request(&[22, 21], Some(ConcertId(CONCERT))),
            trace: None,
        },
        Envelope { ticket, idempotency_key: None, request: request(&[21], None), trace: None },
    ];
    let expecting = Envelope {
        ticket,
        idempotency_key: None,
        request: request(&[21], None).expecting(Some(Amount::parse("20.00").unwrap())),
        trace: None,
    };
    for (json, envelopes) in [(PARCEL, envelopes.to_vec()), (EXPECTING, vec![expecting])] {
        let read = Parcel::decode(json.as_bytes()).unwrap();
        let read: Vec<Envelope> = read.into_iter().map(|raw| Envelope::decode(raw).unwrap()).collect();
        assert_eq!(read, envelopes);
        let mut parcel = Parcel::default();
        for envelope in envelopes {
            parcel.push(&envelope.encode());
        }
        assert_eq!(String::from_utf8(parcel.encode()).unwrap(), json);
    }
}
