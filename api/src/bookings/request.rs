//! The body of a booking request. Its form is checked here; the worker checks whether the seats exist.

use hamro_shared::domain::{Amount, BookingRequest, ConcertId, CustomerName, Email, SeatId};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::extract::{FieldErrors, PathParam};
use crate::http::openapi::text;
use crate::http::problem::Problem;

/// A booking request. Either all of the seats are booked, or none.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"userName": "Alice", "userEmail": "alice@example.com", "seatIds": [21, 22, 41]}))]
pub struct BookingBody {
    #[schema(required = true, schema_with = text::<100>)]
    user_name: Option<String>,
    #[schema(required = true, nullable = false, format = Email, max_length = 254)]
    user_email: Option<String>,
    /// Ids of the seats, without duplicates; by default at most 10.
    #[schema(required = true, nullable = false, value_type = HashSet<SeatId>, min_items = 1, max_items = 10)]
    seat_ids: Option<Vec<i64>>,
    /// If given, all seats must belong to this concert.
    #[schema(value_type = Option<Uuid>)]
    concert_id: Option<String>,
    /// What all seats together cost, as the customer has seen it. If they cost another total when the booking is settled, it is
    /// rejected (`price-changed`) and nothing is booked. Without it, they are booked at any price.
    #[schema(value_type = Option<String>, pattern = r"^[0-9]{1,14}(\.[0-9]{1,2})?$", example = "20.00")]
    expected_total: Option<String>,
}

impl BookingBody {
    /// The parsed request, or a problem that lists all invalid fields.
    pub fn parse(self, max_seats: usize) -> Result<BookingRequest, Problem> {
        let mut fields = FieldErrors::default();
        let name = fields.required("userName", self.user_name, |text| CustomerName::parse(&text));
        let email = fields.required("userEmail", self.user_email, |text| Email::parse(&text));
        let seats = fields.required("seatIds", self.seat_ids, |ids| seat_ids(ids, max_seats));
        let concert = self.concert_id.map(|text| text.parse().map_err(|_| ConcertId::FORM)).transpose();
        let concert = fields.check("concertId", concert);
        let total = self.expected_total.map(|text| Amount::parse(&text)).transpose();
        let total = fields.check("expectedTotal", total);
        let request = match (name, email, seats, concert, total) {
            (Some(name), Some(email), Some(seats), Some(concert), Some(total)) => {
                BookingRequest::new(name, email, seats, concert).ok().map(|request| request.expecting(total))
            }
            _ => None,
        };
        fields.finish(request)
    }
}

/// The ids of a list of seats, which must not be empty or contain duplicates.
pub(super) fn seat_ids(ids: Vec<i64>, max_seats: usize) -> Result<Vec<SeatId>, String> {
    if ids.len() > max_seats {
        return Err(format!("must name at most {max_seats} seats"));
    }
    let ids = ids
        .into_iter()
        .map(|id| match i32::try_from(id) {
            Ok(id) if id > 0 => Ok(SeatId(id)),
            _ => Err(format!("must contain ids from 1 to {} only, but contains {id}", i32::MAX)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    BookingRequest::check_seats(&ids).map_err(|error| error.to_string())?;
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn body() -> Value {
        json!({"userName": "Alice", "userEmail": "alice@example.com", "seatIds": [1, 2]})
    }

    fn errors(change: impl FnOnce(&mut Value)) -> Vec<(String, String)> {
        let mut value = body();
        change(&mut value);
        let body: BookingBody = serde_json::from_value(value).unwrap();
        let problem = body.parse(10).expect_err("the body is invalid").document();
        let document = serde_json::to_value(problem).unwrap();
        assert_eq!(document["code"], "invalid-request");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        document["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| (text(&e["field"]), text(&e["detail"])))
            .collect()
    }

    #[test]
    fn a_valid_request_is_accepted() {
        let body: BookingBody = serde_json::from_value(body()).unwrap();
        assert_eq!(body.parse(10).unwrap().seat_ids(), [SeatId(1), SeatId(2)]);
    }

    #[test]
    fn an_expected_total_is_optional_and_an_invalid_one_is_reported_with_its_form() {
        let parse = |total: Value| {
            let mut body = body();
            body["expectedTotal"] = total;
            serde_json::from_value::<BookingBody>(body).unwrap().parse(10).unwrap().expected_total()
        };
        assert_eq!(parse(json!(null)), None);
        assert_eq!(parse(json!("20.00")), Some(Amount::parse("20.00").unwrap()));
        for bad in ["", "-1", "20.001", "100000000000000", "twenty", "1e3"] {
            let errors = errors(|body| body["expectedTotal"] = json!(bad));
            let [(field, detail)] = errors.as_slice() else { panic!("{errors:?}") };
            assert_eq!(field, "expectedTotal");
            assert!(
                detail.contains("such as \"100.00\"") && detail.contains("at most two decimals"),
                "{detail}"
            );
        }
    }

    #[test]
    fn all_invalid_fields_are_reported_at_once() {
        let errors = errors(|body| *body = json!({"userName": " ", "seatIds": []}));
        let fields: Vec<&str> = errors.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(fields, ["userName", "userEmail", "seatIds"]);
    }

    #[test]
    fn invalid_seat_ids_are_reported_with_the_reason() {
        let with = |seats: Value| errors(|body| body["seatIds"] = seats).remove(0);
        for (seats, expected) in [
            (json!([]), "at least one seat"),
            (json!([7, 7]), "names 7 twice"),
            (json!([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]), "at most 10 seats"),
            (json!([0]), "but contains 0"),
            (json!([3_000_000_000_i64]), "but contains 3000000000"),
            (json!(null), "is required"),
        ] {
            let (field, detail) = with(seats);
            assert_eq!(field, "seatIds");
            assert!(detail.contains(expected), "{detail}");
        }
    }
}
