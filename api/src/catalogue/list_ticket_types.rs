use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;

use super::queries::ticket_types;
use super::ticket_type::TicketType;
use crate::http::openapi::{CATALOGUE, ServerProblems};
use crate::http::problem::Problem;

/// List the ticket types
///
/// The kinds of ticket that tiers refer to by `ticketTypeId`.
#[utoipa::path(
    get,
    path = "/ticket-types",
    operation_id = "list_ticket_types",
    tag = CATALOGUE,
    security(),
    responses((status = 200, description = "All ticket types", body = Vec<TicketType>), ServerProblems),
)]
pub async fn list_ticket_types(State(database): State<Database>) -> Result<Json<Vec<TicketType>>, Problem> {
    let types = database.query(|connection| Box::pin(ticket_types::list(connection))).await?;
    Ok(Json(types))
}
