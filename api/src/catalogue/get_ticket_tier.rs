use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
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
    params(
        ("ticketTierId" = i32, Path, description = "The tier's id", example = 2),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "The `ETag` of the version that the client already has", example = "\"9b1c5e0d2f7a4c36\""),
    ),
    responses(
        (status = 200, description = "The tier", body = TicketTier, headers(
            ("ETag" = String, description = "For `If-Match` and `If-None-Match`"),
        )),
        (status = 304, description = "The client already has the current version"),
        NotFoundProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn get_ticket_tier(
    State(database): State<Database>,
    PathId(id): PathId<TierId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let tier = database.query(move |connection| Box::pin(ticket_tiers::find(connection, id))).await?;
    let tier = tier.ok_or_else(|| Problem::not_found("ticket tier"))?;
    Ok(tier.etag().respond(&headers, Json(tier)))
}
