use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use sqlx::postgres::PgConnection;

use super::ticket_tier::TicketTier;
use crate::http::openapi::{CATALOGUE, ServerProblems};
use crate::http::problem::Problem;

/// List the ticket tiers of all concerts on one page
#[utoipa::path(
    get,
    path = "/ticket-tiers/all",
    operation_id = "list_all_ticket_tiers",
    tag = CATALOGUE,
    responses((status = 200, description = "All ticket tiers", body = Vec<TicketTier>), ServerProblems),
)]
pub async fn list_all_ticket_tiers(
    State(database): State<Database>,
) -> Result<Json<Vec<TicketTier>>, Problem> {
    let tiers = database.query(|connection| Box::pin(find_all(connection))).await?;
    Ok(Json(tiers))
}

/// A tier whose price is no number is left out: it cannot be sold, and must not hide the others.
async fn find_all(connection: &mut PgConnection) -> Result<Vec<TicketTier>, sqlx::Error> {
    sqlx::query_as!(
        TicketTier,
        r#"
        SELECT id, concert_id, ticket_type_id, price, total, available
        FROM ticket_tiers
        WHERE price <> 'NaN'
        ORDER BY id
        "#
    )
    .fetch_all(connection)
    .await
}
