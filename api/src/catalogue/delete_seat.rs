use axum::extract::State;
use axum::http::StatusCode;
use hamro_shared::database::Database;
use hamro_shared::domain::SeatId;
use sqlx::postgres::PgConnection;

use super::queries::seats;
use super::removal::remove;
use crate::http::admin_auth::Admin;
use crate::http::extract::PathId;
use crate::http::openapi::{
    AdminProblems, CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems, SoldProblem,
};
use crate::http::problem::Problem;

/// Remove a seat
///
/// Not possible once it has been sold. Bookings of it that are still in the queue are rejected (`seats-not-found`).
#[utoipa::path(
    delete,
    path = "/seats/{seatId}",
    operation_id = "delete_seat",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("seatId" = i32, Path, description = "The seat's id", example = 21)),
    responses(
        (status = 204, description = "Removed"),
        NotFoundProblem, SoldProblem, ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn delete_seat(
    _: Admin,
    State(database): State<Database>,
    PathId(id): PathId<SeatId>,
) -> Result<StatusCode, Problem> {
    database.transaction(move |connection| Box::pin(delete(connection, id))).await??;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete(connection: &mut PgConnection, id: SeatId) -> Result<Result<(), Problem>, sqlx::Error> {
    match seats::lock(connection, id).await? {
        Some(seat) => remove(connection, seat.concert_id, &[seat]).await,
        None => Ok(Err(Problem::not_found("seat"))),
    }
}
