//! A price tier, and the request body that describes one.

use hamro_shared::domain::{ConcertId, Price, PriceError, TierId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};

use super::is_violation_of;
use crate::http::etag::ETag;
use crate::http::extract::FieldErrors;
use crate::http::problem::{Problem, ProblemCode};

/// A price category of a concert.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketTier {
    #[schema(value_type = i32, example = 2)]
    pub id: TierId,
    #[schema(value_type = Uuid, example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11")]
    pub concert_id: ConcertId,
    #[schema(example = 2)]
    pub ticket_type_id: i32,
    pub price: Price,
    /// Number of seats.
    #[schema(example = 20)]
    pub total: i32,
    /// Number of seats that are not booked.
    #[schema(example = 20)]
    pub available: i32,
}

impl TicketTier {
    /// `If-Match` ignores the counters: a sale does not prevent a change of the tier.
    pub fn etag(&self) -> ETag {
        ETag::strong_with_counters(
            &(self.id, self.concert_id, self.ticket_type_id, self.price),
            &(self.total, self.available),
        )
    }
}

/// The fields of a ticket tier. Its seats are added with `POST /concerts/{concertId}/seats`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "concertId": "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11", "ticketTypeId": 2, "price": "50.00",
}))]
pub struct TicketTierBody {
    #[schema(value_type = Option<Uuid>, required = true, nullable = false)]
    concert_id: Option<ConcertId>,
    #[schema(required = true, nullable = false)]
    ticket_type_id: Option<i32>,
    #[schema(required = true, schema_with = price_input)]
    price: Option<PriceInput>,
}

/// A price, as a string or as a number.
#[derive(Deserialize)]
#[serde(untagged, expecting = "must be an amount such as \"100.00\" or 100")]
enum PriceInput {
    Text(String),
    Number(serde_json::Number),
}

fn price_input() -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[0-9]{1,10}(\.[0-9]{1,2})?$"));
    let number = ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(0_usize))
        .maximum(Some(9_999_999_999.99))
        .multiple_of(Some(0.01));
    OneOfBuilder::new().description(Some("At most two decimal places.")).item(text).item(number).into()
}

/// The validated body of a request.
pub struct TicketTierDetails {
    pub concert_id: ConcertId,
    pub ticket_type_id: i32,
    pub price: Price,
}

impl TicketTierBody {
    pub fn parse(self) -> Result<TicketTierDetails, Problem> {
        let mut fields = FieldErrors::default();
        let concert_id = fields.required("concertId", self.concert_id, Ok::<_, String>);
        let ticket_type_id = fields.required("ticketTypeId", self.ticket_type_id, Ok::<_, String>);
        let price = fields.required("price", self.price, |input| -> Result<Price, PriceError> {
            Price::try_from(match input {
                PriceInput::Text(text) => text,
                PriceInput::Number(number) => number.to_string(),
            })
        });
        let details = (|| {
            Some(TicketTierDetails {
                concert_id: concert_id?,
                ticket_type_id: ticket_type_id?,
                price: price?,
            })
        })();
        fields.finish(details)
    }
}

/// The problem for a tier of a ticket type of which the concert already has a tier, `other`.
pub fn exists(other: Option<TierId>) -> Problem {
    let other = other.map(|id| format!(", tier {id}")).unwrap_or_default();
    Problem::new(
        ProblemCode::AlreadyExists,
        format!(
            "The concert already has a tier of this ticket type{other}. Change that tier, or use another ticket type."
        ),
    )
}

/// The problem for a tier whose concert or ticket type does not exist, or that another request has created at the same
/// time.
pub fn map_violation(error: sqlx::Error) -> Problem {
    if is_violation_of(&error, "ticket_tiers_concert_id_fkey") {
        Problem::invalid_field("concertId", "must be the id of a concert")
    } else if is_violation_of(&error, "ticket_tiers_ticket_type") {
        Problem::invalid_field("ticketTypeId", "must be the id of a ticket type")
    } else if is_violation_of(&error, "ticket_tiers_type_of_concert") {
        exists(None)
    } else {
        error.into()
    }
}
