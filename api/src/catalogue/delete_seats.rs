use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;

use super::queries::seats;
use super::removal::remove;
use super::seat_selection::{SeatFilter, SeatSelection};
use crate::http::admin_auth::Admin;
use crate::http::extract::{PathId, QueryParams};
use crate::http::openapi::{
    AdminProblems, CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems, SoldProblem,
};
use crate::http::problem::{Problem, ProblemCode};
use crate::seat_feed::version::concert_exists;

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeatRemoval {
    /// Number of seats.
    #[schema(example = 20)]
    deleted: usize,
}

/// Remove seats of a concert
///
/// Removes the seats that match all given parameters, or none of them if one has been sold. Bookings of them that are
/// still in the queue are rejected (`seats-not-found`).
#[utoipa::path(
    delete,
    path = "/concerts/{concertId}/seats",
    operation_id = "delete_seats",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"), SeatFilter),
    responses(
        (status = 200, description = "The seats were removed", body = SeatRemoval),
        NotFoundProblem, SoldProblem, ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn delete_seats(
    _: Admin,
    State(database): State<Database>,
    PathId(concert): PathId<ConcertId>,
    QueryParams(filter): QueryParams<SeatFilter>,
) -> Result<Json<SeatRemoval>, Problem> {
    let selection = filter.parse()?;
    let deleted =
        database.transaction(move |connection| Box::pin(delete(connection, concert, selection))).await??;
    Ok(Json(SeatRemoval { deleted }))
}

/// Removes the seats. Returns how many, or what prevents it.
async fn delete(
    connection: &mut PgConnection,
    concert: ConcertId,
    selection: SeatSelection,
) -> Result<Result<usize, Problem>, sqlx::Error> {
    let selected = seats::lock_selected(connection, concert, &selection).await?;
    if selected.is_empty() {
        return Ok(Err(if concert_exists(connection, concert).await? {
            Problem::new(ProblemCode::NotFound, "The concert has no such seats.")
        } else {
            Problem::not_found("concert")
        }));
    }
    Ok(remove(connection, concert, &selected).await?.map(|()| selected.len()))
}
