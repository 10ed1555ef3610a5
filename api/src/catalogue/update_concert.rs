use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::concert::Concert;
use super::concert_body::{ConcertBody, ConcertDetails};
use super::concert_time;
use super::queries::concerts;
use crate::http::admin_auth::Admin;
use crate::http::etag::ETag;
use crate::http::extract::JsonBodyWithId;
use crate::http::if_match::{IfMatch, IfMatchParam};
use crate::http::openapi::{
    AdminProblems, BodyProblems, CATALOGUE, NotFoundProblem, PreconditionProblem, ServerProblems,
};
use crate::http::problem::Problem;

/// The id of a concert and its new fields.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11", "title": "Hamro Rock Night", "artist": "The Rockers",
    "date": "2027-01-15", "time": "19:00", "venue": "Nepal Arena", "city": "Kathmandu",
    "image": "https://example.com/rock.jpg",
}))]
#[expect(dead_code, reason = "describes what `JsonBodyWithId` reads")]
pub struct ConcertUpdate {
    id: Uuid,
    #[serde(flatten)]
    body: ConcertBody,
}

/// Update a concert
///
/// An optional field that is missing keeps its value; `null` clears it. `test` cannot be changed. A new date must not be
/// past, unless `allowPastDate` is `true`.
#[utoipa::path(
    put,
    path = "/concerts",
    operation_id = "update_concert",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    params(IfMatchParam),
    request_body = ConcertUpdate,
    responses(
        (status = 200, description = "The updated concert", body = Concert, headers(
            ("ETag" = String, description = "For `If-Match`"),
        )),
        NotFoundProblem, PreconditionProblem, BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn update_concert(
    _: Admin,
    State(database): State<Database>,
    if_match: Option<IfMatch>,
    JsonBodyWithId { id, body }: JsonBodyWithId<ConcertId, ConcertBody>,
) -> Result<(ETag, Json<Concert>), Problem> {
    let details = body.parse()?;
    let concert =
        database.transaction(move |connection| Box::pin(update(connection, id, details, if_match))).await??;
    Ok((concert.etag(), Json(concert)))
}

/// Updates the concert, or returns what is wrong with the request.
async fn update(
    connection: &mut PgConnection,
    id: ConcertId,
    details: ConcertDetails,
    if_match: Option<IfMatch>,
) -> Result<Result<Concert, Problem>, sqlx::Error> {
    let Some(stored) = concerts::lock(connection, id).await? else {
        return Ok(Err(Problem::not_found("concert")));
    };
    if let Some(Err(problem)) = if_match.map(|if_match| if_match.check(&stored.etag())) {
        return Ok(Err(problem));
    }
    let allow_past_date = details.allow_past_date;
    let concert = match details.update(&stored) {
        Ok(concert) => concert,
        Err(problem) => return Ok(Err(problem)),
    };
    match concert_time::check(connection, &concert, Some(&stored), allow_past_date).await? {
        Ok(()) => concerts::update(connection, concert).await.map(Ok),
        Err(problem) => Ok(Err(problem)),
    }
}
