use axum::extract::State;
use hamro_shared::database::Database;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::ticket_tier::TicketTier;
use crate::http::admin_auth::Admin;
use crate::http::created::Created;
use crate::http::extract::{FieldErrors, JsonBody, PathId};
use crate::http::openapi::{AdminProblems, BodyProblems, CATALOGUE, NotFoundProblem, ServerProblems, text};
use crate::http::problem::Problem;
use crate::seat_feed::version::concert_exists;

/// A block of seats. Their numbers (`V-1`, `V-2`, …) continue after the tier's last seat with the same prefix, row by
/// row.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"ticketTierId": 1, "section": "vip", "rows": 2, "seatsPerRow": 10, "firstRow": 2}))]
pub struct SeatBlockBody {
    /// A tier of this concert.
    #[schema(required = true, nullable = false)]
    ticket_tier_id: Option<i32>,
    #[schema(required = true, schema_with = text::<100>)]
    section: Option<String>,
    #[schema(required = true, nullable = false, minimum = 1, maximum = 200)]
    rows: Option<i32>,
    #[schema(required = true, nullable = false, minimum = 1, maximum = 500)]
    seats_per_row: Option<i32>,
    /// Number of the first row. Default: the row after the last one of the section.
    #[schema(nullable = false, minimum = 1, maximum = 100_000)]
    first_row: Option<i32>,
    /// Prefix of the seat numbers: 1 to 8 ASCII letters or digits. Default: the first letter of the section.
    #[schema(nullable = false, min_length = 1, max_length = 8, pattern = "^[0-9A-Za-z]+$")]
    prefix: Option<String>,
}

/// The seats that were added.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeatBlock {
    /// Number of seats.
    #[schema(example = 20)]
    created: u64,
    #[schema(example = "V-1")]
    first_seat_number: String,
    #[schema(example = "V-20")]
    last_seat_number: String,
    /// The updated tier.
    tier: TicketTier,
}

/// A block, checked.
struct Block {
    tier: i32,
    section: String,
    rows: i32,
    seats_per_row: i32,
    first_row: Option<i32>,
    prefix: String,
}

/// Add a block of seats to a concert
///
/// The seats can be booked immediately, or from `salesOpenAt` if the concert has one.
#[utoipa::path(
    post,
    path = "/concerts/{concertId}/seats",
    operation_id = "create_seats",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("concertId" = Uuid, Path, description = "The concert's id")),
    request_body = SeatBlockBody,
    responses(
        (status = 201, description = "The seats that were added", body = SeatBlock, headers(
            ("Location" = String, description = "URL of the concert's seat map"),
        )),
        NotFoundProblem, BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn create_seats(
    _: Admin,
    State(database): State<Database>,
    PathId(concert): PathId<Uuid>,
    JsonBody(body): JsonBody<SeatBlockBody>,
) -> Result<Created<SeatBlock>, Problem> {
    let block = body.parse()?;
    let added = database.transaction(move |connection| Box::pin(block.add(connection, concert))).await?;
    Ok(Created { location: format!("/seats/concert/{concert}"), body: added? })
}

impl SeatBlockBody {
    fn parse(self) -> Result<Block, Problem> {
        let mut fields = FieldErrors::default();
        let tier = fields.required("ticketTierId", self.ticket_tier_id, Ok::<_, String>);
        let section = fields.text("section", self.section, 100);
        let count = |max: i32| {
            move |n| {
                if (1..=max).contains(&n) { Ok(n) } else { Err(format!("must be a number from 1 to {max}")) }
            }
        };
        // So many seats are added within a second or two.
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

impl Block {
    /// Adds the seats to the tier, or says what is wrong with the request.
    async fn add(
        self,
        connection: &mut PgConnection,
        concert: Uuid,
    ) -> Result<Result<SeatBlock, Problem>, sqlx::Error> {
        if let Err(problem) = self.lock_tier(connection, concert).await? {
            return Ok(Err(problem));
        }
        let first = self.next_number(connection).await?;
        let created = self.insert(connection, concert, first).await?;
        let tier = self.add_to_tier(connection, created).await?;
        let number = |n: i32| format!("{}-{n}", self.prefix);
        Ok(Ok(SeatBlock {
            created: u64::from(created.unsigned_abs()),
            first_seat_number: number(first),
            last_seat_number: number(first + created - 1),
            tier,
        }))
    }

    /// Blocks of one tier are added one after the other, so that their numbers do not collide.
    async fn lock_tier(
        &self,
        connection: &mut PgConnection,
        concert: Uuid,
    ) -> Result<Result<(), Problem>, sqlx::Error> {
        let tier = sqlx::query_scalar!(
            "SELECT concert_id FROM ticket_tiers WHERE id = $1 FOR NO KEY UPDATE",
            self.tier
        )
        .fetch_optional(&mut *connection)
        .await?;
        if tier == Some(concert) {
            return Ok(Ok(()));
        }
        Ok(Err(if concert_exists(connection, concert).await? {
            Problem::invalid_field("ticketTierId", "must be the id of a tier of this concert")
        } else {
            Problem::not_found("concert")
        }))
    }

    async fn next_number(&self, connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
        sqlx::query_scalar!(
            r#"
            SELECT coalesce(max(substr(seat_number, length($2) + 2)::integer), 0) + 1 AS "next!"
            FROM seats
            WHERE ticket_tier_id = $1 AND starts_with(seat_number, $2 || '-')
            "#,
            self.tier,
            self.prefix
        )
        .fetch_one(connection)
        .await
    }

    async fn insert(
        &self,
        connection: &mut PgConnection,
        concert: Uuid,
        first: i32,
    ) -> Result<i32, sqlx::Error> {
        let created = sqlx::query!(
            r#"
            INSERT INTO seats (concert_id, ticket_tier_id, seat_number, "row", section)
            SELECT $1, $2, $3 || '-' || ($4::integer + n),
                   coalesce($5, 1 + (SELECT max("row") FROM seats WHERE concert_id = $1 AND section = $6), 1)
                       + n / $7::integer,
                   $6
            FROM generate_series(0, $8::integer * $7::integer - 1) AS n
            ORDER BY n
            "#,
            concert,
            self.tier,
            self.prefix,
            first,
            self.first_row,
            self.section,
            self.seats_per_row,
            self.rows
        )
        .execute(connection)
        .await?;
        Ok(i32::try_from(created.rows_affected()).unwrap_or(i32::MAX))
    }

    async fn add_to_tier(
        &self,
        connection: &mut PgConnection,
        created: i32,
    ) -> Result<TicketTier, sqlx::Error> {
        sqlx::query_as!(
            TicketTier,
            r#"
            UPDATE ticket_tiers
            SET total = total + $2, available = available + $2
            WHERE id = $1
            RETURNING id, concert_id, ticket_type_id, price, total, available
            "#,
            self.tier,
            created
        )
        .fetch_one(connection)
        .await
    }
}
