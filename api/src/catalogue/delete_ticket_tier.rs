use axum::extract::State;
use axum::http::StatusCode;
use hamro_shared::database::Database;
use hamro_shared::domain::TierId;

use super::is_violation_of;
use super::queries::ticket_tiers;
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
    params(("ticketTierId" = i32, Path, description = "The tier's id", example = 2)),
    responses(
        (status = 204, description = "Deleted"),
        NotFoundProblem, SoldProblem, ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn delete_ticket_tier(
    _: Admin,
    State(database): State<Database>,
    PathId(id): PathId<TierId>,
) -> Result<StatusCode, Problem> {
    let deleted = database
        .transaction(move |connection| Box::pin(ticket_tiers::delete(connection, id)))
        .await
        .map_err(|error| if is_violation_of(&error, "seats_sold") { has_sales() } else { error.into() })?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("ticket tier")) }
}

fn has_sales() -> Problem {
    Problem::of(ProblemCode::HasSales)
}
