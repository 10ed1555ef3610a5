//! One example of each problem, for the OpenAPI document. Built as handlers build it, so that the document cannot
//! drift.

use std::num::NonZeroU32;

use hamro_shared::domain::{Amount, ConcertId, Rejection, SeatId, SeatLabel, TicketId, Timestamp};
use uuid::uuid;

use super::{Problem, ProblemCode};

pub fn example(code: ProblemCode) -> Problem {
    let seats = [21, 22].map(|id| SeatLabel {
        id: SeatId(id),
        section: "front".to_owned(),
        row: 1,
        seat_number: format!("F-{}", id - 20),
    });
    let (seat_ids, seats) = (seats.iter().map(|seat| seat.id).collect(), seats.to_vec());
    let moment = Timestamp::from_unix_millis(1_796_098_500_000).expect("is a date");
    match code {
        ProblemCode::SeatsTaken => Rejection::SeatsTaken { seat_ids, seats }.into(),
        ProblemCode::SoldOut => Rejection::SoldOut { seat_ids, seats }.into(),
        ProblemCode::SeatsNotFound => {
            Rejection::SeatsNotFound { seat_ids, seats: Some(Vec::new()), missing_concert_id: None }.into()
        }
        ProblemCode::SaleNotOpen => Rejection::SaleNotOpen { opens_at: moment }.into(),
        ProblemCode::SaleClosed => Rejection::SaleClosed { closed_at: moment }.into(),
        ProblemCode::PriceChanged => {
            let amount = |text| Amount::parse(text).expect("is an amount");
            Rejection::PriceChanged { total: amount("99.00"), expected_total: amount("20.00") }.into()
        }
        ProblemCode::LimitReached => {
            let concert_id = ConcertId(uuid!("755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"));
            Rejection::LimitReached { concert_id, limit: 4, held_seats: Some(3) }.into()
        }
        ProblemCode::InvalidRequest => Problem::invalid_field("seatIds", "must name at least one seat"),
        ProblemCode::NotFound => Problem::not_found("concert"),
        ProblemCode::OutcomeUnknown => {
            Problem::of(code).about(TicketId(uuid!("019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88")))
        }
        ProblemCode::TooManyRequests => Problem::rate_limited(NonZeroU32::new(20).expect("is not zero")),
        _ => Problem::of(code),
    }
}
