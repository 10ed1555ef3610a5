//! The problem that a rejected booking ends in.

use hamro_shared::domain::{Rejection, StoredRejection};
use serde_json::json;

use super::{Problem, ProblemCode};

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let seats = |seat_ids: &[_]| {
            let listed: Vec<String> = seat_ids.iter().map(ToString::to_string).collect();
            listed.join(", ")
        };
        match rejection {
            Rejection::SeatsTaken { seat_ids } => Self::new(
                ProblemCode::SeatsTaken,
                format!("Of the seats asked for, somebody else has: {}. Choose others.", seats(&seat_ids)),
            )
            .with("seatIds", json!(seat_ids)),
            Rejection::SoldOut { seat_ids } => {
                Self::new(ProblemCode::SoldOut, "No seat of this concert is left.")
                    .with("seatIds", json!(seat_ids))
            }
            Rejection::SeatsNotFound { seat_ids } => Self::new(
                ProblemCode::SeatsNotFound,
                format!("There are no seats {} in this concert.", seats(&seat_ids)),
            )
            .with("seatIds", json!(seat_ids)),
            Rejection::SaleNotOpen { opens_at } => {
                Self::new(ProblemCode::SaleNotOpen, format!("The sale opens at {opens_at}."))
                    .with("opensAt", json!(opens_at))
            }
            Rejection::SaleClosed { closed_at } => {
                Self::new(ProblemCode::SaleClosed, format!("The sale closed at {closed_at}."))
                    .with("closedAt", json!(closed_at))
            }
            Rejection::IdempotencyKeyReused => Self::new(
                ProblemCode::IdempotencyKeyReused,
                "Another booking was made under this key. Use a new key for a new booking.",
            ),
            Rejection::Other(stored) => match stored.known() {
                Some(known) => known.into(),
                None => Self::rejected(&stored),
            },
        }
    }
}

impl Problem {
    /// A rejection of which this version can read no more than the code. A newer worker may have written it, and what else
    /// is in it may not be meant for the customer: it is left out.
    fn rejected(stored: &StoredRejection) -> Self {
        const KNOWN: [ProblemCode; 6] = [
            ProblemCode::SeatsTaken,
            ProblemCode::SoldOut,
            ProblemCode::SeatsNotFound,
            ProblemCode::SaleNotOpen,
            ProblemCode::SaleClosed,
            ProblemCode::IdempotencyKeyReused,
        ];
        const DETAIL: &str = "The booking was rejected. Nothing was booked.";
        let code = stored.code().filter(|code| is_code(code)).unwrap_or(ProblemCode::Rejected.as_str());
        if let Some(known) = KNOWN.into_iter().find(|known| known.as_str() == code) {
            return Self::new(known, DETAIL);
        }
        let mut problem = Self::new(ProblemCode::Rejected, DETAIL);
        problem.0.document.r#type = format!("urn:hamro-concert:problem:{code}");
        problem.0.document.code = code.to_owned().into();
        problem
    }
}

/// Whether the text has the form of a code, which is a part of a URN.
fn is_code(text: &str) -> bool {
    let is_code_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(is_code_byte)
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::SeatId;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_rejection_that_this_version_does_not_know_is_a_problem_with_its_code() {
        let told = |stored: Value| {
            let document = Problem::from(Rejection::from_stored(stored)).document();
            let document = serde_json::to_value(document).unwrap();
            (document["code"].clone(), document["status"].clone(), document.as_object().unwrap().len())
        };
        let newer = json!({"code": "limit-exceeded", "status": 200, "limit": 4});
        assert_eq!(told(newer), (json!("limit-exceeded"), json!(409), 5));
        for (code, status) in [("seats-not-found", 404), ("seats-taken", 409), ("internal", 409)] {
            assert_eq!(told(json!({"code": code, "seatIds": "all"})), (json!(code), json!(status), 5));
        }
        for odd in
            [json!(null), json!({"code": 7}), json!({"code": "a:b\n"}), json!({"code": "x".repeat(65)})]
        {
            assert_eq!(told(odd), (json!("rejected"), json!(409), 5));
        }
        // The members that are known are answered as before.
        let more = json!({"code": "seats-taken", "seatIds": [21], "heldBy": "alice"});
        let known = Rejection::SeatsTaken { seat_ids: vec![SeatId(21)] };
        let document = Problem::from(Rejection::from_stored(more)).document();
        assert_eq!(document, Problem::from(known).document());
    }
}
