use axum::extract::State;
use axum::http::StatusCode;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use sqlx::postgres::PgConnection;

use super::is_violation_of;
use super::queries::{concerts, sales, seats};
use crate::http::admin_auth::Admin;
use crate::http::extract::PathId;
use crate::http::openapi::{
    AdminProblems, CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems, SoldProblem,
};
use crate::http::problem::{Problem, ProblemCode};

/// How many seats of a test concert one transaction deletes, in about a tenth of a second.
const BLOCK: i64 = 2_000;

/// Delete a concert with its tiers and seats
///
/// Not possible once a seat of the concert has been sold, unless it is a test concert. A test concert is deleted with
/// its sales and their bookings. If the deletion of a large one is interrupted, repeat it.
#[utoipa::path(
    delete,
    path = "/concerts/{concertId}",
    operation_id = "delete_concert",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11")),
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
    let is_test = database.query(move |connection| Box::pin(concerts::is_test(connection, id))).await?;
    let is_test = is_test.ok_or_else(|| Problem::not_found("concert"))?;
    loop {
        if is_test {
            empty(&database, id).await?;
        }
        match database.transaction(move |connection| Box::pin(concerts::delete(connection, id))).await {
            Ok(true) => return Ok(StatusCode::NO_CONTENT),
            Ok(false) => return Err(Problem::not_found("concert")),
            Err(error) if !is_violation_of(&error, "seats_sold") => return Err(error.into()),
            // Seats were added and sold since the concert was emptied.
            Err(_) if is_test => {}
            Err(_) => return Err(Problem::of(ProblemCode::HasSales)),
        }
    }
}

/// Deletes the seats of a test concert with their sales, block by block: a worker waits for the locks of one block, not
/// for those of 100 000 seats, and no transaction comes near its time limit.
async fn empty(database: &Database, concert: ConcertId) -> Result<(), Problem> {
    while database.transaction(move |connection| Box::pin(delete_block(connection, concert))).await? {}
    Ok(())
}

/// Deletes a block of seats with their sales. Returns whether there were any.
///
/// Like a worker, it locks the seats first and the tiers last. It waits for the sales in progress, and then sees them.
/// A worker that waits for the seats finds none.
async fn delete_block(connection: &mut PgConnection, concert: ConcertId) -> Result<bool, sqlx::Error> {
    let seats = seats::lock_block(connection, concert, BLOCK).await?;
    if seats.is_empty() {
        return Ok(false);
    }
    sales::delete_of_seats(connection, &seats).await?;
    seats::delete_block(connection, concert, &seats).await?;
    Ok(true)
}
