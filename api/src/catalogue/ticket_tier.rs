//! A price tier, as it is shown and as it is written.

use hamro_shared::domain::{Price, PriceError};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use uuid::Uuid;

use super::is_violation_of;
use crate::http::extract::FieldErrors;
use crate::http::problem::Problem;

/// A price category of a concert.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TicketTier {
    #[schema(example = 2)]
    pub id: i32,
    #[schema(example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11")]
    pub concert_id: Uuid,
    #[schema(example = 2)]
    pub ticket_type_id: i32,
    #[serde(serialize_with = "in_hundredths")]
    #[schema(value_type = Price)]
    pub price: Decimal,
    /// Number of seats.
    #[schema(example = 20)]
    pub total: i32,
    /// Number of seats that are not booked.
    #[schema(example = 20)]
    pub available: i32,
}

/// The fields of a ticket tier. Its seats are added with `POST /concerts/{concertId}/seats`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "concertId": "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11", "ticketTypeId": 2, "price": "50.00",
}))]
pub struct TicketTierBody {
    #[schema(required = true, nullable = false)]
    concert_id: Option<Uuid>,
    #[schema(required = true, nullable = false)]
    ticket_type_id: Option<i32>,
    #[schema(required = true, schema_with = price_input)]
    price: Option<PriceInput>,
}

/// Zero, too, has two decimals, though the database hands it out with none.
fn in_hundredths<S: Serializer>(price: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{price:.2}"))
}

/// A price, as a string or as a number.
#[derive(Deserialize)]
#[serde(untagged)]
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

/// What a tier is made of, checked.
pub struct TicketTierDetails {
    pub concert_id: Uuid,
    pub ticket_type_id: i32,
    pub price: Decimal,
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
                price: price?.amount(),
            })
        })();
        fields.finish(details)
    }
}

/// What the database says to a tier of a concert or a ticket type that does not exist.
pub fn map_foreign_key(error: sqlx::Error) -> Problem {
    if is_violation_of(&error, "ticket_tiers_concert_id_fkey") {
        Problem::invalid_field("concertId", "must be the id of a concert")
    } else if is_violation_of(&error, "ticket_tiers_ticket_type") {
        Problem::invalid_field("ticketTypeId", "must be the id of a ticket type")
    } else {
        error.into()
    }
}
