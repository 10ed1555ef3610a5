use axum::extract::State;
use axum::http::StatusCode;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;

use super::is_violation_of;
use super::queries::concerts;
use crate::http::admin_auth::Admin;
use crate::http::extract::PathId;
use crate::http::openapi::{
    AdminProblems, CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems, SoldProblem,
};
use crate::http::problem::{Problem, ProblemCode};

/// Delete a concert with its tiers and seats
///
/// Not possible once a seat of the concert has been sold.
#[utoipa::path(
    delete,
    path = "/concerts/{concertId}",
    operation_id = "delete_concert",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("concertId" = Uuid, Path, description = "The concert's id")),
    responses(
        (status = 204, description = "Deleted"),
        NotFoundProblem, SoldProblem, ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn delete_concert(
    _: Admin,
    State(database): State<Database>,
    PathId(id): PathId<ConcertId>,
) -> Result<StatusCode, Problem> {
    let deleted = database
        .transaction(move |connection| Box::pin(concerts::delete(connection, id)))
        .await
        .map_err(|error| if is_violation_of(&error, "seats_sold") { has_sales() } else { error.into() })?;
    if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("concert")) }
}

fn has_sales() -> Problem {
    Problem::of(ProblemCode::HasSales)
}
