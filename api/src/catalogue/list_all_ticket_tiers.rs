use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;

use super::queries::ticket_tiers;
use super::ticket_tier::TicketTier;
use crate::http::openapi::{CATALOGUE, ServerProblems};
use crate::http::problem::Problem;

/// List the ticket tiers of all concerts on one page
///
/// Tiers of test concerts are omitted; `GET /ticket-tiers?concertId=…` lists them.
#[utoipa::path(
    get,
    path = "/ticket-tiers/all",
    operation_id = "list_all_ticket_tiers",
    tag = CATALOGUE,
    security(),
    responses((status = 200, description = "All ticket tiers", body = Vec<TicketTier>), ServerProblems),
)]
pub async fn list_all_ticket_tiers(
    State(database): State<Database>,
) -> Result<Json<Vec<TicketTier>>, Problem> {
    let tiers = database.query(|connection| Box::pin(ticket_tiers::list_all(connection))).await?;
    Ok(Json(tiers))
}
