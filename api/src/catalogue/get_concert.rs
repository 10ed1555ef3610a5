use axum::extract::{Request, State};
use axum::response::Response;
use hamro_shared::domain::ConcertId;

use super::cached::respond;
use super::concert::Concert;
use crate::catalogue_cache::DocumentKey;
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, EncodingProblem, NotFoundProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;
use crate::http::ready_body::IfNoneMatchParam;
use crate::state::AppState;

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
        IfNoneMatchParam,
    ),
    responses(
        (status = 200, description = "The concert", body = Concert, headers(
            ("ETag" = String, description = "For `If-Match` and `If-None-Match`"),
            ("Age" = u64, description = "Seconds since the document was known to be current, if the database is not available"),
            ("CDN-Cache-Control" = String, description = "For how long shared caches may serve the document (RFC 9213)"),
        )),
        (status = 304, description = "The client already has the current version"),
        NotFoundProblem, ParamProblems, EncodingProblem, ServerProblems,
    ),
)]
pub async fn get_concert(
    State(app): State<AppState>,
    PathId(id): PathId<ConcertId>,
    request: Request,
) -> Result<Response, Problem> {
    respond(&app, request, DocumentKey::Concert(id), "concert").await
}
