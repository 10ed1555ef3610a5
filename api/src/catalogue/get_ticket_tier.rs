use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use sqlx::postgres::PgConnection;

use super::ticket_tier::TicketTier;
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;

/// Get a ticket tier
#[utoipa::path(
    get,
    path = "/ticket-tiers/{ticketTierId}",
    operation_id = "get_ticket_tier",
    tag = CATALOGUE,
    params(("ticketTierId" = i32, Path, description = "The tier's id")),
    responses(
        (status = 200, description = "The tier", body = TicketTier),
        NotFoundProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn get_ticket_tier(
    State(database): State<Database>,
    PathId(id): PathId<i32>,
) -> Result<Json<TicketTier>, Problem> {
    let tier = database.query(move |connection| Box::pin(find(connection, id))).await?;
    tier.map(Json).ok_or_else(|| Problem::not_found("ticket tier"))
}

async fn find(connection: &mut PgConnection, id: i32) -> Result<Option<TicketTier>, sqlx::Error> {
    sqlx::query_as!(
        TicketTier,
        "SELECT id, concert_id, ticket_type_id, price, total, available FROM ticket_tiers WHERE id = $1",
        id
    )
    .fetch_optional(connection)
    .await
}
