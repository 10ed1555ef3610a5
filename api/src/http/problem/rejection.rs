//! The problem of a rejected booking.

use std::collections::HashSet;

use hamro_shared::domain::{ConcertId, Rejection, SeatId, SeatLabel, StoredRejection};
use serde_json::json;

use super::{Problem, ProblemCode};

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::SeatsTaken { seat_ids, seats } => {
                let detail = match names(&seat_ids, &seats).as_slice() {
                    [seat] => format!("Seat {seat} is already taken. Choose another seat."),
                    seats => format!("Seats {} are already taken. Choose other seats.", list(seats)),
                };
                Self::new(ProblemCode::SeatsTaken, detail).with_seats(&seat_ids, &seats)
            }
            Rejection::SoldOut { seat_ids, seats } => {
                Self::of(ProblemCode::SoldOut).with_seats(&seat_ids, &seats)
            }
            Rejection::SeatsNotFound { seat_ids, seats, missing_concert_id } => {
                Self::seats_not_found(&seat_ids, seats.as_deref(), missing_concert_id)
            }
            Rejection::SaleNotOpen { opens_at } => {
                Self::new(ProblemCode::SaleNotOpen, format!("Sales open at {opens_at}."))
                    .with("opensAt", json!(opens_at))
            }
            Rejection::SaleClosed { closed_at } => {
                Self::new(ProblemCode::SaleClosed, format!("Sales closed at {closed_at}."))
                    .with("closedAt", json!(closed_at))
            }
            Rejection::PriceChanged { total, expected_total } => {
                let detail = format!(
                    "These seats now cost {total}, not {expected_total}. Nothing was booked. Confirm the new total to book them."
                );
                Self::new(ProblemCode::PriceChanged, detail)
                    .with("total", json!(total))
                    .with("expectedTotal", json!(expected_total))
            }
            Rejection::LimitReached { concert_id, limit, held_seats } => {
                let problem = Self::new(ProblemCode::LimitReached, limit_detail(limit, held_seats))
                    .with("concertId", json!(concert_id))
                    .with("limit", json!(limit));
                match held_seats {
                    Some(held) => problem.with("heldSeats", json!(held)),
                    None => problem,
                }
            }
            Rejection::IdempotencyKeyReused => Self::of(ProblemCode::IdempotencyKeyReused),
            Rejection::Other(stored) => match stored.known() {
                Some(known) => known.into(),
                None => Self::rejected(&stored),
            },
        }
    }
}

fn limit_detail(limit: u32, held_seats: Option<u32>) -> String {
    let seats = |count: u32| format!("{count} {}", if count == 1 { "seat" } else { "seats" });
    let most = format!("One customer can book at most {} of this concert", seats(limit));
    match held_seats {
        None => format!("{most}. Choose fewer seats."),
        Some(held) if held >= limit => {
            format!("{most}, and this e-mail address already has {held}. No more can be booked.")
        }
        Some(held) => {
            let left = seats(limit - held);
            format!("{most}, and this e-mail address already has {held}. Choose at most {left}.")
        }
    }
}

/// What a text calls these seats: their labels, or their ids if a worker of an earlier version stored no labels. If two
/// of them have one label, because they belong to two concerts or were sold by an early version, each has its id too.
fn names(seat_ids: &[SeatId], seats: &[SeatLabel]) -> Vec<String> {
    if seats.is_empty() {
        return seat_ids.iter().map(ToString::to_string).collect();
    }
    let numbers: HashSet<&str> = seats.iter().map(|seat| seat.seat_number.as_str()).collect();
    let name = |seat: &SeatLabel| match seat {
        SeatLabel { seat_number, .. } if numbers.len() == seats.len() => seat_number.clone(),
        SeatLabel { seat_number, id, .. } => format!("{seat_number} (id {id})"),
    };
    seats.iter().map(name).collect()
}

/// Two or more names: `V-1, V-2 and G-7`.
fn list(names: &[String]) -> String {
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
        _ => names.concat(),
    }
}

impl Problem {
    /// `elsewhere`: those of the seats that belong to another concert, if known. Seats that exist nowhere may have been
    /// removed while the booking was queued.
    fn seats_not_found(
        seat_ids: &[SeatId],
        elsewhere: Option<&[SeatLabel]>,
        missing_concert_id: Option<ConcertId>,
    ) -> Self {
        let problem = |detail: String| {
            Self::new(ProblemCode::SeatsNotFound, detail).with_seats(seat_ids, elsewhere.unwrap_or_default())
        };
        if let Some(concert) = missing_concert_id {
            let detail = "This concert no longer exists. Choose another one.";
            return problem(detail.to_owned()).with("missingConcertId", json!(concert));
        }
        let Some(elsewhere) = elsewhere else {
            return problem(match names(seat_ids, &[]).as_slice() {
                [seat] => format!("Seat {seat} does not exist or belongs to another concert."),
                seats => format!("Seats {} do not exist or belong to another concert.", list(seats)),
            });
        };
        let is_elsewhere = |id: &SeatId| elsewhere.iter().any(|seat| seat.id == *id);
        let nowhere: Vec<SeatId> = seat_ids.iter().copied().filter(|id| !is_elsewhere(id)).collect();
        let nowhere = match names(&nowhere, &[]).as_slice() {
            [] => None,
            [seat] => Some(format!("Seat {seat} does not exist or was removed.")),
            seats => Some(format!("Seats {} do not exist or were removed.", list(seats))),
        };
        let elsewhere = match names(&[], elsewhere).as_slice() {
            [] => None,
            [seat] => Some(format!("Seat {seat} belongs to another concert.")),
            seats => Some(format!("Seats {} belong to another concert.", list(seats))),
        };
        let sentences = nowhere.into_iter().chain(elsewhere).chain(["Choose other seats.".to_owned()]);
        problem(sentences.collect::<Vec<_>>().join(" "))
    }

    /// Names the seats by their ids, and by their labels if these are known.
    fn with_seats(self, seat_ids: &[SeatId], seats: &[SeatLabel]) -> Self {
        let problem = self.with("seatIds", json!(seat_ids));
        if seats.is_empty() { problem } else { problem.with("seats", json!(seats)) }
    }

    /// A rejection of which this version understands only the code. A newer worker may have written it. Its other
    /// members are left out, since they may not be meant for the customer.
    fn rejected(stored: &StoredRejection) -> Self {
        const KNOWN: [ProblemCode; 8] = [
            ProblemCode::SeatsTaken,
            ProblemCode::SoldOut,
            ProblemCode::SeatsNotFound,
            ProblemCode::SaleNotOpen,
            ProblemCode::SaleClosed,
            ProblemCode::PriceChanged,
            ProblemCode::LimitReached,
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
        let known = Rejection::SeatsTaken { seat_ids: vec![SeatId(21)], seats: Vec::new() };
        let document = Problem::from(Rejection::from_stored(more)).document();
        assert_eq!(document, Problem::from(known).document());
    }

    fn label(id: i32, seat_number: &str) -> SeatLabel {
        SeatLabel { id: SeatId(id), section: "vip".to_owned(), row: 2, seat_number: seat_number.to_owned() }
    }

    fn detail(rejection: Rejection) -> String {
        let document = serde_json::to_value(Problem::from(rejection).document()).unwrap();
        document["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn taken_seats_are_named_by_their_labels_or_else_by_their_ids() {
        let taken = |seats: &[SeatLabel]| {
            let seat_ids = [21, 22].map(SeatId).to_vec();
            detail(Rejection::SeatsTaken { seat_ids, seats: seats.to_vec() })
        };
        assert_eq!(taken(&[]), "Seats 21 and 22 are already taken. Choose other seats.");
        let two = [label(21, "V-1"), label(22, "V-2")];
        assert_eq!(taken(&two), "Seats V-1 and V-2 are already taken. Choose other seats.");
        assert_eq!(taken(&two[..1]), "Seat V-1 is already taken. Choose another seat.");
        let same = [label(21, "V-1"), label(22, "V-1")];
        assert_eq!(taken(&same), "Seats V-1 (id 21) and V-1 (id 22) are already taken. Choose other seats.");
    }

    #[test]
    fn a_reached_limit_says_how_many_seats_can_still_be_booked() {
        let reached = |limit, held_seats| {
            let concert_id = ConcertId(uuid::Uuid::from_u128(7));
            detail(Rejection::LimitReached { concert_id, limit, held_seats })
        };
        for (limit, held, expected) in [
            (4, None, "4 seats of this concert. Choose fewer seats."),
            (1, None, "1 seat of this concert. Choose fewer seats."),
            (
                4,
                Some(3),
                "4 seats of this concert, and this e-mail address already has 3. Choose at most 1 seat.",
            ),
            (
                4,
                Some(0),
                "4 seats of this concert, and this e-mail address already has 0. Choose at most 4 seats.",
            ),
            (
                4,
                Some(6),
                "4 seats of this concert, and this e-mail address already has 6. No more can be booked.",
            ),
        ] {
            assert_eq!(reached(limit, held), format!("One customer can book at most {expected}"));
        }
    }

    #[test]
    fn a_missing_seat_is_told_apart_from_one_of_another_concert_and_a_missing_concert() {
        let not_found = |elsewhere: Option<&[SeatLabel]>, missing_concert_id| {
            let (seat_ids, seats) = ([21, 22].map(SeatId).to_vec(), elsewhere.map(<[_]>::to_vec));
            detail(Rejection::SeatsNotFound { seat_ids, seats, missing_concert_id })
        };
        let elsewhere = [label(21, "V-1"), label(22, "V-2")];
        for (elsewhere, expected) in [
            (None, "Seats 21 and 22 do not exist or belong to another concert."),
            (Some(&elsewhere[..0]), "Seats 21 and 22 do not exist or were removed. Choose other seats."),
            (Some(&elsewhere[..]), "Seats V-1 and V-2 belong to another concert. Choose other seats."),
            (
                Some(&elsewhere[..1]),
                "Seat 22 does not exist or was removed. Seat V-1 belongs to another concert. Choose other seats.",
            ),
        ] {
            assert_eq!(not_found(elsewhere, None), expected);
        }
        let concert = Some(ConcertId(uuid::Uuid::from_u128(7)));
        assert_eq!(not_found(Some(&[]), concert), "This concert no longer exists. Choose another one.");
    }
}
