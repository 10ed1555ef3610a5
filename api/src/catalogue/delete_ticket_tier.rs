use axum::extract::State;
use axum::http::StatusCode;
use hamro_shared::database::Database;
use hamro_shared::domain::TierId;
use sqlx::postgres::PgConnection;

use super::is_violation_of;
use super::queries::{seats, ticket_tiers};
use super::tier_precondition::check;
use crate::http::admin_auth::Admin;
use crate::http::extract::PathId;
use crate::http::if_match::{IfMatch, IfMatchParam};
use crate::http::openapi::{
    AdminProblems, CATALOGUE, NotFoundProblem, ParamProblems, PreconditionProblem, ServerProblems,
    SoldProblem,
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
    params(("ticketTierId" = i32, Path, description = "The tier's id", example = 2), IfMatchParam),
    responses(
        (status = 204, description = "Deleted"),
        NotFoundProblem, SoldProblem, PreconditionProblem, ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn delete_ticket_tier(
    _: Admin,
    State(database): State<Database>,
    PathId(id): PathId<TierId>,
    if_match: Option<IfMatch>,
) -> Result<StatusCode, Problem> {
    database
        .transaction(move |connection| Box::pin(delete(connection, id, if_match)))
        .await
        .map_err(|error| if is_violation_of(&error, "seats_sold") { has_sales() } else { error.into() })??;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the tier, or returns what prevents it. Like a worker, it locks the seats first and the tier last.
async fn delete(
    connection: &mut PgConnection,
    id: TierId,
    if_match: Option<IfMatch>,
) -> Result<Result<(), Problem>, sqlx::Error> {
    seats::lock_tier(connection, id).await?;
    if ticket_tiers::lock(connection, id).await?.is_none() {
        return Ok(Err(Problem::not_found("ticket tier")));
    }
    if let Err(problem) = check(connection, id, if_match).await? {
        return Ok(Err(problem));
    }
    ticket_tiers::delete(connection, id).await.map(Ok)
}

fn has_sales() -> Problem {
    Problem::of(ProblemCode::HasSales)
}
