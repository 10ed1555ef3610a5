use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;

use crate::http::openapi::{CATALOGUE, ServerProblems};
use crate::http::problem::Problem;

/// A kind of ticket. Tiers of any concert can have it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketType {
    #[schema(example = 2)]
    pub id: i32,
    #[schema(example = "Front Row")]
    pub name: String,
}

/// List the ticket types
#[utoipa::path(
    get,
    path = "/ticket-types",
    operation_id = "list_ticket_types",
    tag = CATALOGUE,
    responses((status = 200, description = "All ticket types", body = Vec<TicketType>), ServerProblems),
)]
pub async fn list_ticket_types(State(database): State<Database>) -> Result<Json<Vec<TicketType>>, Problem> {
    let types = database.query(|connection| Box::pin(find_all(connection))).await?;
    Ok(Json(types))
}

async fn find_all(connection: &mut PgConnection) -> Result<Vec<TicketType>, sqlx::Error> {
    sqlx::query_as!(TicketType, "SELECT id, name FROM ticket_types ORDER BY id").fetch_all(connection).await
}
