//! One example of each problem, for the OpenAPI document. Built as handlers build it, so that the document cannot
//! drift.

use std::num::NonZeroU32;

use hamro_shared::domain::{Rejection, SeatId, TicketId, Timestamp};
use uuid::uuid;

use super::{Problem, ProblemCode};

pub fn example(code: ProblemCode) -> Problem {
    let seat_ids = vec![SeatId(21), SeatId(22)];
    let moment = Timestamp::from_unix_millis(1_796_098_500_000).expect("is a date");
    match code {
        ProblemCode::SeatsTaken => Rejection::SeatsTaken { seat_ids }.into(),
        ProblemCode::SoldOut => Rejection::SoldOut { seat_ids }.into(),
        ProblemCode::SeatsNotFound => Rejection::SeatsNotFound { seat_ids }.into(),
        ProblemCode::SaleNotOpen => Rejection::SaleNotOpen { opens_at: moment }.into(),
        ProblemCode::SaleClosed => Rejection::SaleClosed { closed_at: moment }.into(),
        ProblemCode::InvalidRequest => Problem::invalid_field("seatIds", "must name at least one seat"),
        ProblemCode::NotFound => Problem::not_found("concert"),
        ProblemCode::OutcomeUnknown => {
            Problem::of(code).about(TicketId(uuid!("019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88")))
        }
        ProblemCode::TooManyRequests => Problem::rate_limited(NonZeroU32::new(20).expect("is not zero")),
        _ => Problem::of(code),
    }
}
