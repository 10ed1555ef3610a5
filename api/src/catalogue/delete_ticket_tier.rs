use axum::extract::State;
use axum::http::StatusCode;
use sqlx::postgres::PgPool;

use super::violates;
use crate::admin::Admin;
use crate::extract::Id;
use crate::openapi::{AdminProblems, CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems, SoldProblem};
use crate::problem::{Problem, ProblemCode};

/// Remove a price tier, with its seats
///
/// Refused once a seat of it has been sold.
#[utoipa::path(
    delete,
    path = "/ticket-tiers/{ticketTierId}",
    operation_id = "delete_ticket_tier",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("ticketTierId" = i32, Path, description = "The tier's id")),
    responses(
        (status = 204, description = "It is gone"),
        NotFoundProblem, SoldProblem, ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn delete_ticket_tier(
    _: Admin,
    State(pool): State<PgPool>,
    Id(id): Id<i32>,
) -> Result<StatusCode, Problem> {
    let mut transaction = pool.begin().await?;
    // In the order in which the workers lock: see `delete_concert`.
    sqlx::query!("SELECT id FROM seats WHERE ticket_tier_id = $1 ORDER BY id FOR UPDATE", id)
        .fetch_all(&mut *transaction)
        .await?;
    let deleted = sqlx::query!("DELETE FROM ticket_tiers WHERE id = $1", id)
        .execute(&mut *transaction)
        .await
        .map_err(|error| if violates(&error, "seats_sold") { has_sales() } else { error.into() })?;
    transaction.commit().await?;
    if deleted.rows_affected() == 0 {
        return Err(Problem::not_found("ticket tier"));
    }
    Ok(StatusCode::NO_CONTENT)
}

fn has_sales() -> Problem {
    Problem::new(ProblemCode::HasSales, "Seats of this tier have been sold, so it stays.")
}
