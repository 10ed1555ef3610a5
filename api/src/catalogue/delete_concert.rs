use axum::extract::State;
use axum::http::StatusCode;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use sqlx::postgres::PgConnection;

use super::is_violation_of;
use super::queries::{concerts, sales, seats};
use crate::http::admin_auth::Admin;
use crate::http::extract::PathId;
use crate::http::if_match::{IfMatch, IfMatchParam};
use crate::http::openapi::{
    AdminProblems, CATALOGUE, NotFoundProblem, ParamProblems, PreconditionProblem, ServerProblems,
    SoldProblem,
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
    params(("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"), IfMatchParam),
    responses(
        (status = 204, description = "Deleted"),
        NotFoundProblem, SoldProblem, PreconditionProblem, ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn delete_concert(
    _: Admin,
    State(database): State<Database>,
    PathId(id): PathId<ConcertId>,
    if_match: Option<IfMatch>,
) -> Result<StatusCode, Problem> {
    let is_test = database.query(move |connection| Box::pin(concerts::is_test(connection, id))).await?;
    if is_test.ok_or_else(|| Problem::not_found("concert"))? {
        delete_test_concert(&database, id, if_match).await
    } else {
        database
            .transaction(move |connection| Box::pin(delete(connection, id, if_match)))
            .await
            .map_err(|error| if is_violation_of(&error, "seats_sold") { has_sales() } else { error.into() })?
    }
}

/// Deletes a test concert with its sales, in several transactions. Once the first seats are deleted, a change of the
/// concert does not stop the deletion.
async fn delete_test_concert(
    database: &Database,
    id: ConcertId,
    if_match: Option<IfMatch>,
) -> Result<StatusCode, Problem> {
    database.transaction(move |connection| Box::pin(check(connection, id, if_match))).await??;
    loop {
        empty(database, id).await?;
        match database.transaction(move |connection| Box::pin(delete(connection, id, None))).await {
            Ok(deleted) => return deleted,
            // Seats were added and sold since the concert was emptied.
            Err(error) if is_violation_of(&error, "seats_sold") => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Deletes the concert, or returns what prevents it.
async fn delete(
    connection: &mut PgConnection,
    id: ConcertId,
    if_match: Option<IfMatch>,
) -> Result<Result<StatusCode, Problem>, sqlx::Error> {
    seats::lock_concert(connection, id).await?;
    if let Err(problem) = check(connection, id, if_match).await? {
        return Ok(Err(problem));
    }
    let deleted = concerts::delete(connection, id).await?;
    Ok(if deleted { Ok(StatusCode::NO_CONTENT) } else { Err(Problem::not_found("concert")) })
}

/// Checks `If-Match` against the concert, and locks it. Without the header, the concert is not read.
async fn check(
    connection: &mut PgConnection,
    id: ConcertId,
    if_match: Option<IfMatch>,
) -> Result<Result<(), Problem>, sqlx::Error> {
    let Some(if_match) = if_match else { return Ok(Ok(())) };
    let stored = concerts::lock(connection, id).await?;
    Ok(stored
        .ok_or_else(|| Problem::not_found("concert"))
        .and_then(|concert| if_match.check(&concert.etag())))
}

fn has_sales() -> Problem {
    Problem::of(ProblemCode::HasSales)
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
