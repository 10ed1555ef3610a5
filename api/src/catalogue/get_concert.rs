use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;

use super::concert::Concert;
use super::queries::concerts;
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;

/// Get a concert
#[utoipa::path(
    get,
    path = "/concerts/{concertId}",
    operation_id = "get_concert",
    tag = CATALOGUE,
    params(("concertId" = Uuid, Path, description = "The concert's id")),
    responses(
        (status = 200, description = "The concert", body = Concert),
        NotFoundProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn get_concert(
    State(database): State<Database>,
    PathId(id): PathId<ConcertId>,
) -> Result<Json<Concert>, Problem> {
    let concert = database.query(move |connection| Box::pin(concerts::find(connection, id))).await?;
    concert.map(Json).ok_or_else(|| Problem::not_found("concert"))
}
