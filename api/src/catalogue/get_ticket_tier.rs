use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::TierId;

use super::queries::ticket_tiers;
use super::ticket_tier::TicketTier;
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;

/// Get a ticket tier
///
/// `total` and `available` count its seats.
#[utoipa::path(
    get,
    path = "/ticket-tiers/{ticketTierId}",
    operation_id = "get_ticket_tier",
    tag = CATALOGUE,
    security(),
    params(("ticketTierId" = i32, Path, description = "The tier's id", example = 2)),
    responses(
        (status = 200, description = "The tier", body = TicketTier),
        NotFoundProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn get_ticket_tier(
    State(database): State<Database>,
    PathId(id): PathId<TierId>,
) -> Result<Json<TicketTier>, Problem> {
    let tier = database.query(move |connection| Box::pin(ticket_tiers::find(connection, id))).await?;
    tier.map(Json).ok_or_else(|| Problem::not_found("ticket tier"))
}
