use axum::Json;
use axum::extract::State;
use sqlx::postgres::PgPool;

use super::ticket_tier::TicketTier;
use crate::openapi::{CATALOGUE, ServerProblems};
use crate::problem::Problem;

/// List the price tiers of all concerts, in one go
#[utoipa::path(
    get,
    path = "/ticket-tiers/all",
    operation_id = "list_all_ticket_tiers",
    tag = CATALOGUE,
    responses((status = 200, description = "All of them", body = Vec<TicketTier>), ServerProblems),
)]
pub async fn list_all_ticket_tiers(State(pool): State<PgPool>) -> Result<Json<Vec<TicketTier>>, Problem> {
    let tiers = sqlx::query_as!(
        TicketTier,
        "SELECT id, concert_id, ticket_type_id, price, total, available FROM ticket_tiers ORDER BY id"
    )
    .fetch_all(&pool)
    .await?;
    Ok(Json(tiers))
}
