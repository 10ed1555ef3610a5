use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;

use super::create_once::create_once;
use super::queries::{concerts, seats, ticket_tiers};
use super::seat_block::{Block, SeatBlockBody};
use super::ticket_tier::TicketTier;
use crate::http::admin_auth::Admin;
use crate::http::created::Created;
use crate::http::extract::PathId;
use crate::http::keyed_body::{CreationKeyParam, KeyedBody};
use crate::http::openapi::{
    AdminProblems, CATALOGUE, ExistsProblem, KeyedBodyProblems, NotFoundProblem, ServerProblems,
};
use crate::http::problem::{Problem, ProblemCode};

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

/// Add a block of seats to a concert
///
/// The seats can be booked immediately, or from `salesOpenAt` if the concert has one. Rows that the section already has
/// cannot be added again. Without `firstRow`, every request adds rows: send an `Idempotency-Key`, so that a retry adds
/// none.
#[utoipa::path(
    post,
    path = "/concerts/{concertId}/seats",
    operation_id = "create_seats",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"), CreationKeyParam),
    request_body = SeatBlockBody,
    responses(
        (status = 201, description = "The seats that were added", body = SeatBlock, headers(
            ("Location" = String, description = "URL of the concert's seat map"),
        )),
        NotFoundProblem, ExistsProblem, KeyedBodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn create_seats(
    _: Admin,
    State(database): State<Database>,
    PathId(concert): PathId<ConcertId>,
    KeyedBody { body, key }: KeyedBody<SeatBlockBody>,
) -> Result<Created, Problem> {
    let block = body.parse()?;
    create_once(&database, key, move |connection| Box::pin(add(connection, block, concert))).await?
}

/// Adds the seats to the tier, or returns what is wrong with the request.
async fn add(
    connection: &mut PgConnection,
    block: Block,
    concert: ConcertId,
) -> Result<Result<Created, Problem>, sqlx::Error> {
    // The lock serialises blocks of one concert, so that neither their rows nor their seat numbers collide.
    if !concerts::lock_only(connection, concert).await? {
        return Ok(Err(Problem::not_found("concert")));
    }
    let tier = ticket_tiers::lock(connection, block.tier).await?;
    if tier.is_none_or(|tier| tier.concert_id != concert) {
        return Ok(Err(Problem::invalid_field("ticketTierId", "must be the id of a tier of this concert")));
    }
    if let Some(first) = block.first_row {
        let rows =
            seats::existing_rows(connection, concert, &block.section, first, block.last_row(first)).await?;
        if let (Some(row), Some(last)) = (rows.first_in_range, rows.last) {
            return Ok(Err(row_exists(&block.section, row, last)));
        }
    }
    let first = seats::next_number(connection, concert, &block.prefix).await?;
    let created = seats::insert(connection, concert, &block, first).await?;
    let tier = ticket_tiers::add_seats(connection, block.tier, created).await?;
    let number = |n: i32| format!("{}-{n}", block.prefix);
    let added = SeatBlock {
        created: u64::from(created.unsigned_abs()),
        first_seat_number: number(first),
        last_seat_number: number(first + created - 1),
        tier,
    };
    Ok(Ok(Created::new(format!("/seats/concert/{concert}"), &added)))
}

fn row_exists(section: &str, row: i32, last: i32) -> Problem {
    Problem::new(
        ProblemCode::AlreadyExists,
        format!(
            "Section {section} already has a row {row}, and nothing was added. Leave firstRow out to add rows after row \
             {last}, its last, or choose rows that it does not have."
        ),
    )
}
