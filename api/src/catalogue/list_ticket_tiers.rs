use axum::extract::{Request, State};
use axum::response::Response;
use hamro_shared::domain::ConcertId;
use serde::Deserialize;

use super::cached::respond;
use super::ticket_tier::TicketTier;
use crate::catalogue_cache::DocumentKey;
use crate::http::extract::{PathParam, QueryParams};
use crate::http::openapi::{CATALOGUE, EncodingProblem, ParamProblems, ServerProblems};
use crate::http::pagination::{PageParams, Paged};
use crate::http::problem::Problem;
use crate::http::ready_body::IfNoneMatchParam;
use crate::state::AppState;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub struct TierFilter {
    /// Lists only the tiers of this concert, which may be a test concert.
    #[param(value_type = Option<Uuid>, example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11")]
    concert_id: Option<String>,
}

/// List the ticket tiers of all concerts, or of one
///
/// Without `concertId`, tiers of test concerts are omitted.
#[utoipa::path(
    get,
    path = "/ticket-tiers",
    operation_id = "list_ticket_tiers",
    tag = CATALOGUE,
    security(),
    params(PageParams, TierFilter, IfNoneMatchParam),
    responses(
        (status = 200, description = "One page of ticket tiers", body = Paged<TicketTier>, headers(
            ("ETag" = String, description = "For `If-None-Match`"),
            ("Age" = u64, description = "Seconds since the document was known to be current, if the database is not available"),
            ("CDN-Cache-Control" = String, description = "For how long shared caches may serve the document (RFC 9213)"),
        )),
        (status = 304, description = "The client already has the current version"),
        ParamProblems, EncodingProblem, ServerProblems,
    ),
)]
pub async fn list_ticket_tiers(
    State(app): State<AppState>,
    QueryParams(params): QueryParams<PageParams>,
    QueryParams(filter): QueryParams<TierFilter>,
    request: Request,
) -> Result<Response, Problem> {
    let page = params.parse()?;
    respond(&app, request, DocumentKey::Tiers(filter.parse()?, page), "page").await
}

impl TierFilter {
    fn parse(self) -> Result<Option<ConcertId>, Problem> {
        let Some(text) = self.concert_id else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Problem::invalid_field("concertId", ConcertId::FORM))
    }
}
