use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;

use super::queries::{concerts, seats, ticket_tiers};
use super::seat_block::{Block, SeatBlockBody};
use super::ticket_tier::TicketTier;
use crate::http::admin_auth::Admin;
use crate::http::created::Created;
use crate::http::extract::{JsonBody, PathId};
use crate::http::openapi::{AdminProblems, BodyProblems, CATALOGUE, NotFoundProblem, ServerProblems};
use crate::http::problem::Problem;
use crate::seat_feed::version::concert_exists;

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
/// The seats can be booked immediately, or from `salesOpenAt` if the concert has one.
#[utoipa::path(
    post,
    path = "/concerts/{concertId}/seats",
    operation_id = "create_seats",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11")),
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
    PathId(concert): PathId<ConcertId>,
    JsonBody(body): JsonBody<SeatBlockBody>,
) -> Result<Created<SeatBlock>, Problem> {
    let block = body.parse()?;
    let added = database.transaction(move |connection| Box::pin(add(connection, block, concert))).await?;
    Ok(Created { location: format!("/seats/concert/{concert}"), body: added? })
}

/// Adds the seats to the tier, or returns what is wrong with the request.
async fn add(
    connection: &mut PgConnection,
    block: Block,
    concert: ConcertId,
) -> Result<Result<SeatBlock, Problem>, sqlx::Error> {
    // The lock serialises blocks of one concert, so that their seat numbers do not collide.
    concerts::lock(connection, concert).await?;
    if ticket_tiers::lock(connection, block.tier).await? != Some(concert) {
        return Ok(Err(if concert_exists(connection, concert).await? {
            Problem::invalid_field("ticketTierId", "must be the id of a tier of this concert")
        } else {
            Problem::not_found("concert")
        }));
    }
    let first = seats::next_number(connection, concert, &block.prefix).await?;
    let created = seats::insert(connection, concert, &block, first).await?;
    let tier = ticket_tiers::add_seats(connection, block.tier, created).await?;
    let number = |n: i32| format!("{}-{n}", block.prefix);
    Ok(Ok(SeatBlock {
        created: u64::from(created.unsigned_abs()),
        first_seat_number: number(first),
        last_seat_number: number(first + created - 1),
        tier,
    }))
}
