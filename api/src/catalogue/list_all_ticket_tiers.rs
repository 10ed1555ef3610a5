use axum::extract::{Request, State};
use axum::response::Response;

use super::cached::respond;
use super::ticket_tier::TicketTier;
use crate::catalogue_cache::DocumentKey;
use crate::http::openapi::{CATALOGUE, EncodingProblem, ServerProblems};
use crate::http::problem::Problem;
use crate::http::ready_body::IfNoneMatchParam;
use crate::state::AppState;

/// List the ticket tiers of all concerts on one page
///
/// Tiers of test concerts are omitted; `GET /ticket-tiers?concertId=…` lists them.
#[utoipa::path(
    get,
    path = "/ticket-tiers/all",
    operation_id = "list_all_ticket_tiers",
    tag = CATALOGUE,
    security(),
    params(IfNoneMatchParam),
    responses(
        (status = 200, description = "All ticket tiers", body = Vec<TicketTier>, headers(
            ("ETag" = String, description = "For `If-None-Match`"),
            ("Age" = u64, description = "Seconds since the document was known to be current, if the database is not available"),
            ("CDN-Cache-Control" = String, description = "For how long shared caches may serve the document (RFC 9213)"),
        )),
        (status = 304, description = "The client already has the current version"),
        EncodingProblem, ServerProblems,
    ),
)]
pub async fn list_all_ticket_tiers(
    State(app): State<AppState>,
    request: Request,
) -> Result<Response, Problem> {
    respond(&app, request, DocumentKey::AllTiers, "list").await
}
