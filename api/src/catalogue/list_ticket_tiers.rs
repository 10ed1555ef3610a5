use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;

use super::queries::ticket_tiers;
use super::ticket_tier::TicketTier;
use crate::http::extract::QueryParams;
use crate::http::openapi::{CATALOGUE, ParamProblems, ServerProblems};
use crate::http::pagination::{PageParams, Paged};
use crate::http::problem::Problem;

/// List the ticket tiers of all concerts
#[utoipa::path(
    get,
    path = "/ticket-tiers",
    operation_id = "list_ticket_tiers",
    tag = CATALOGUE,
    params(PageParams),
    responses((status = 200, description = "One page of ticket tiers", body = Paged<TicketTier>), ParamProblems, ServerProblems),
)]
pub async fn list_ticket_tiers(
    State(database): State<Database>,
    QueryParams(params): QueryParams<PageParams>,
) -> Result<Json<Paged<TicketTier>>, Problem> {
    let page = params.parse()?;
    let tiers = database.query(move |connection| Box::pin(ticket_tiers::list(connection, page))).await?;
    let total = database.query(|connection| Box::pin(ticket_tiers::count(connection))).await?;
    Ok(Json(page.of(tiers, total)))
}
