use axum::extract::{Request, State};
use axum::response::Response;
use hamro_shared::domain::TierId;

use super::cached::respond;
use super::ticket_tier::TicketTier;
use crate::catalogue_cache::DocumentKey;
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, EncodingProblem, NotFoundProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;
use crate::http::ready_body::IfNoneMatchParam;
use crate::state::AppState;

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
        IfNoneMatchParam,
    ),
    responses(
        (status = 200, description = "The tier", body = TicketTier, headers(
            ("ETag" = String, description = "For `If-Match` and `If-None-Match`"),
            ("Age" = u64, description = "Seconds since the document was known to be current, if the database is not available"),
            ("CDN-Cache-Control" = String, description = "For how long shared caches may serve the document (RFC 9213)"),
        )),
        (status = 304, description = "The client already has the current version"),
        NotFoundProblem, ParamProblems, EncodingProblem, ServerProblems,
    ),
)]
pub async fn get_ticket_tier(
    State(app): State<AppState>,
    PathId(id): PathId<TierId>,
    request: Request,
) -> Result<Response, Problem> {
    respond(&app, request, DocumentKey::Tier(id), "ticket tier").await
}
