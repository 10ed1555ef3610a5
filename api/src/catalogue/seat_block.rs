//! A block of new seats, as a request describes it.

use hamro_shared::domain::TierId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::extract::FieldErrors;
use crate::http::openapi::text;
use crate::http::problem::Problem;

/// A block of seats. Their numbers (`V-1`, `V-2`, …) continue after the concert's last seat with the same prefix, row by
/// row.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"ticketTierId": 1, "section": "vip", "rows": 2, "seatsPerRow": 10, "firstRow": 2}))]
pub struct SeatBlockBody {
    /// A tier of this concert.
    #[schema(value_type = Option<i32>, required = true, nullable = false)]
    ticket_tier_id: Option<TierId>,
    #[schema(required = true, schema_with = text::<100>)]
    section: Option<String>,
    #[schema(required = true, nullable = false, minimum = 1, maximum = 200)]
    rows: Option<i32>,
    #[schema(required = true, nullable = false, minimum = 1, maximum = 500)]
    seats_per_row: Option<i32>,
    /// Number of the first row. Default: the row after the last one of the section. The section must not have any of the
    /// new rows.
    #[schema(nullable = false, minimum = 1, maximum = 100_000)]
    first_row: Option<i32>,
    /// Prefix of the seat numbers: 1 to 8 ASCII letters or digits. Default: the first letter of the section.
    #[schema(nullable = false, min_length = 1, max_length = 8, pattern = "^[0-9A-Za-z]+$")]
    prefix: Option<String>,
}

/// The validated body of a request.
pub struct Block {
    pub tier: TierId,
    pub section: String,
    pub rows: i32,
    pub seats_per_row: i32,
    /// `None`: the row after the section's last.
    pub first_row: Option<i32>,
    pub prefix: String,
}

impl Block {
    /// The number of the last row, if the first one is `first`.
    pub fn last_row(&self, first: i32) -> i32 {
        first + self.rows - 1
    }
}

impl SeatBlockBody {
    pub fn parse(self) -> Result<Block, Problem> {
        let mut fields = FieldErrors::default();
        let tier = fields.required("ticketTierId", self.ticket_tier_id, Ok::<_, String>);
        let section = fields.text("section", self.section, 100);
        let count = |max: i32| {
            move |n| {
                if (1..=max).contains(&n) { Ok(n) } else { Err(format!("must be a number from 1 to {max}")) }
            }
        };
        // The database inserts the largest block within two seconds.
        let rows = fields.required("rows", self.rows, count(200));
        let seats_per_row = fields.required("seatsPerRow", self.seats_per_row, count(500));
        let first_row = self.first_row.map(|row| match row {
            1..=100_000 => Ok(row),
            _ => Err("must be a number from 1 to 100000"),
        });
        let first_row = fields.check("firstRow", first_row.transpose());
        let first_letter =
            |section: &String| section.chars().find(char::is_ascii_alphanumeric).map(String::from);
        let prefix =
            self.prefix.or_else(|| section.as_ref().and_then(first_letter)).unwrap_or_else(|| "S".to_owned());
        let fits = (1..=8).contains(&prefix.len()) && prefix.chars().all(|c| c.is_ascii_alphanumeric());
        let prefix = if fits {
            Ok(prefix.to_ascii_uppercase())
        } else {
            Err("must be 1 to 8 ASCII letters or digits")
        };
        let prefix = fields.check("prefix", prefix);
        let block = (|| {
            Some(Block {
                tier: tier?,
                section: section?,
                rows: rows?,
                seats_per_row: seats_per_row?,
                first_row: first_row?,
                prefix: prefix?,
            })
        })();
        fields.finish(block)
    }
}
