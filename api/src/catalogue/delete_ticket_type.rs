use axum::extract::State;
use axum::http::StatusCode;
use hamro_shared::database::Database;

use super::is_violation_of;
use super::queries::ticket_types;
use crate::http::admin_auth::Admin;
use crate::http::extract::PathId;
use crate::http::openapi::{
    AdminProblems, CATALOGUE, InUseProblem, NotFoundProblem, ParamProblems, ServerProblems,
};
use crate::http::problem::{Problem, ProblemCode};

/// Delete a ticket type
///
/// Not possible while a tier of any concert has it.
#[utoipa::path(
    delete,
    path = "/ticket-types/{ticketTypeId}",
    operation_id = "delete_ticket_type",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("ticketTypeId" = i32, Path, description = "The ticket type's id", example = 1)),
    responses(
        (status = 204, description = "Deleted"),
        NotFoundProblem, InUseProblem, ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn delete_ticket_type(
    _: Admin,
    State(database): State<Database>,
    PathId(id): PathId<i32>,
) -> Result<StatusCode, Problem> {
    let deleted = database
        .transaction(move |connection| Box::pin(ticket_types::delete(connection, id)))
        .await
        .map_err(
            |error| if is_violation_of(&error, "ticket_tiers_ticket_type") { in_use() } else { error.into() },
        )?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("ticket type")) }
}

fn in_use() -> Problem {
    Problem::of(ProblemCode::InUse)
}
