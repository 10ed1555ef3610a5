use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;

use super::concert::Concert;
use super::queries::concerts;
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;

/// Get a concert
///
/// Test concerts are found too, although they are not listed.
#[utoipa::path(
    get,
    path = "/concerts/{concertId}",
    operation_id = "get_concert",
    tag = CATALOGUE,
    security(),
    params(
        ("concertId" = Uuid, Path, description = "The concert's id", example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "The `ETag` of the version that the client already has", example = "\"9b1c5e0d2f7a4c36\""),
    ),
    responses(
        (status = 200, description = "The concert", body = Concert, headers(
            ("ETag" = String, description = "For `If-Match` and `If-None-Match`"),
        )),
        (status = 304, description = "The client already has the current version"),
        NotFoundProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn get_concert(
    State(database): State<Database>,
    PathId(id): PathId<ConcertId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let concert = database.query(move |connection| Box::pin(concerts::find(connection, id))).await?;
    let concert = concert.ok_or_else(|| Problem::not_found("concert"))?;
    Ok(concert.etag().respond(&headers, Json(concert)))
}
