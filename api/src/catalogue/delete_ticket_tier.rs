use axum::extract::State;
use axum::http::StatusCode;
use hamro_shared::database::Database;
use sqlx::postgres::PgConnection;

use super::is_violation_of;
use crate::http::admin_auth::Admin;
use crate::http::extract::PathId;
use crate::http::openapi::{
    AdminProblems, CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems, SoldProblem,
};
use crate::http::problem::{Problem, ProblemCode};

/// Delete a ticket tier with its seats
///
/// Not possible once a seat of the tier has been sold.
#[utoipa::path(
    delete,
    path = "/ticket-tiers/{ticketTierId}",
    operation_id = "delete_ticket_tier",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("ticketTierId" = i32, Path, description = "The tier's id")),
    responses(
        (status = 204, description = "Deleted"),
        NotFoundProblem, SoldProblem, ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn delete_ticket_tier(
    _: Admin,
    State(database): State<Database>,
    PathId(id): PathId<i32>,
) -> Result<StatusCode, Problem> {
    let deleted = database
        .transaction(move |connection| Box::pin(delete(connection, id)))
        .await
        .map_err(|error| if is_violation_of(&error, "seats_sold") { has_sales() } else { error.into() })?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("ticket tier")) }
}

/// Returns whether there was one.
async fn delete(connection: &mut PgConnection, id: i32) -> Result<bool, sqlx::Error> {
    // In the order in which the workers lock: see `delete_concert`.
    sqlx::query!("SELECT id FROM seats WHERE ticket_tier_id = $1 ORDER BY id FOR UPDATE", id)
        .fetch_all(&mut *connection)
        .await?;
    let deleted = sqlx::query!("DELETE FROM ticket_tiers WHERE id = $1", id).execute(connection).await?;
    Ok(deleted.rows_affected() > 0)
}

fn has_sales() -> Problem {
    Problem::of(ProblemCode::HasSales)
}
