use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use serde::Deserialize;

use super::queries::ticket_tiers;
use super::ticket_tier::TicketTier;
use crate::http::extract::{PathParam, QueryParams};
use crate::http::openapi::{CATALOGUE, ParamProblems, ServerProblems};
use crate::http::pagination::{PageParams, Paged};
use crate::http::problem::Problem;

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
    params(PageParams, TierFilter),
    responses((status = 200, description = "One page of ticket tiers", body = Paged<TicketTier>), ParamProblems, ServerProblems),
)]
pub async fn list_ticket_tiers(
    State(database): State<Database>,
    QueryParams(params): QueryParams<PageParams>,
    QueryParams(filter): QueryParams<TierFilter>,
) -> Result<Json<Paged<TicketTier>>, Problem> {
    let page = params.parse()?;
    let concert = filter.parse()?;
    let tiers =
        database.query(move |connection| Box::pin(ticket_tiers::list(connection, concert, page))).await?;
    let total = database.query(move |connection| Box::pin(ticket_tiers::count(connection, concert))).await?;
    Ok(Json(page.of(tiers, total)))
}

impl TierFilter {
    fn parse(self) -> Result<Option<ConcertId>, Problem> {
        let Some(text) = self.concert_id else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Problem::invalid_field("concertId", ConcertId::FORM))
    }
}
