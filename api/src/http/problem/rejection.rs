//! The problem of a rejected booking.

use hamro_shared::domain::{Rejection, SeatId, StoredRejection};
use serde_json::json;

use super::{Problem, ProblemCode};

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::SeatsTaken { seat_ids } => Self::new(
                ProblemCode::SeatsTaken,
                match seat_ids.as_slice() {
                    [seat] => format!("Seat {seat} is already taken. Choose another seat."),
                    seats => format!("Seats {} are already taken. Choose other seats.", list(seats)),
                },
            )
            .with("seatIds", json!(seat_ids)),
            Rejection::SoldOut { seat_ids } => {
                Self::of(ProblemCode::SoldOut).with("seatIds", json!(seat_ids))
            }
            Rejection::SeatsNotFound { seat_ids } => Self::new(
                ProblemCode::SeatsNotFound,
                match seat_ids.as_slice() {
                    [seat] => format!("Seat {seat} does not exist or belongs to another concert."),
                    seats => format!("Seats {} do not exist or belong to another concert.", list(seats)),
                },
            )
            .with("seatIds", json!(seat_ids)),
            Rejection::SaleNotOpen { opens_at } => {
                Self::new(ProblemCode::SaleNotOpen, format!("Sales open at {opens_at}."))
                    .with("opensAt", json!(opens_at))
            }
            Rejection::SaleClosed { closed_at } => {
                Self::new(ProblemCode::SaleClosed, format!("Sales closed at {closed_at}."))
                    .with("closedAt", json!(closed_at))
            }
            Rejection::IdempotencyKeyReused => Self::of(ProblemCode::IdempotencyKeyReused),
            Rejection::Other(stored) => match stored.known() {
                Some(known) => known.into(),
                None => Self::rejected(&stored),
            },
        }
    }
}

/// Two or more seat ids: `21, 22 and 41`.
fn list(seat_ids: &[SeatId]) -> String {
    let ids: Vec<String> = seat_ids.iter().map(ToString::to_string).collect();
    match ids.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => ids.concat(),
    }
}

impl Problem {
    /// A rejection of which this version understands only the code. A newer worker may have written it. Its other
    /// members are left out, since they may not be meant for the customer.
    fn rejected(stored: &StoredRejection) -> Self {
        const KNOWN: [ProblemCode; 6] = [
            ProblemCode::SeatsTaken,
            ProblemCode::SoldOut,
            ProblemCode::SeatsNotFound,
            ProblemCode::SaleNotOpen,
            ProblemCode::SaleClosed,
            ProblemCode::IdempotencyKeyReused,
        ];
        let code = stored.code().filter(|code| is_code(code)).unwrap_or(ProblemCode::Rejected.as_str());
        if let Some(known) = KNOWN.into_iter().find(|known| known.as_str() == code) {
            return Self::of(known);
        }
        let mut problem = Self::of(ProblemCode::Rejected);
        problem.0.document.r#type = format!("urn:hamro-concert:problem:{code}");
        problem.0.document.code = code.to_owned().into();
        problem
    }
}

/// Whether the text has the form of a code, which becomes part of a URN.
fn is_code(text: &str) -> bool {
    let is_code_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(is_code_byte)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_unknown_rejection_becomes_a_problem_with_its_code() {
        let code_status_and_size = |stored: Value| {
            let document = Problem::from(Rejection::from_stored(stored)).document();
            let document = serde_json::to_value(document).unwrap();
            (document["code"].clone(), document["status"].clone(), document.as_object().unwrap().len())
        };
        let newer = json!({"code": "limit-exceeded", "status": 200, "limit": 4});
        assert_eq!(code_status_and_size(newer), (json!("limit-exceeded"), json!(409), 5));
        for (code, status) in [("seats-not-found", 404), ("seats-taken", 409), ("internal", 409)] {
            assert_eq!(
                code_status_and_size(json!({"code": code, "seatIds": "all"})),
                (json!(code), json!(status), 5)
            );
        }
        for odd in
            [json!(null), json!({"code": 7}), json!({"code": "a:b\n"}), json!({"code": "x".repeat(65)})]
        {
            assert_eq!(code_status_and_size(odd), (json!("rejected"), json!(409), 5));
        }
        // An unknown member does not hide the known ones.
        let more = json!({"code": "seats-taken", "seatIds": [21], "heldBy": "alice"});
        let known = Rejection::SeatsTaken { seat_ids: vec![SeatId(21)] };
        let document = Problem::from(Rejection::from_stored(more)).document();
        assert_eq!(document, Problem::from(known).document());
    }
}
