use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::concert::{Concert, ConcertBody};
use super::queries::concerts;
use crate::http::admin_auth::Admin;
use crate::http::extract::JsonBodyWithId;
use crate::http::openapi::{AdminProblems, BodyProblems, CATALOGUE, NotFoundProblem, ServerProblems};
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
/// The body replaces all fields of the concert, except `test`, which cannot be changed.
#[utoipa::path(
    put,
    path = "/concerts",
    operation_id = "update_concert",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    request_body = ConcertUpdate,
    responses(
        (status = 200, description = "The updated concert", body = Concert),
        NotFoundProblem, BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn update_concert(
    _: Admin,
    State(database): State<Database>,
    JsonBodyWithId { id, body }: JsonBodyWithId<ConcertId, ConcertBody>,
) -> Result<Json<Concert>, Problem> {
    let test = body.test();
    let concert = body.parse(id)?;
    let updated = database.transaction(move |connection| Box::pin(update(connection, concert, test))).await?;
    Ok(Json(updated?))
}

/// Updates the concert, or returns what is wrong with the request. `test` is the value that the body has.
async fn update(
    connection: &mut PgConnection,
    concert: Concert,
    test: Option<bool>,
) -> Result<Result<Concert, Problem>, sqlx::Error> {
    let Some(is_test) = concerts::is_test(connection, concert.id).await? else {
        return Ok(Err(Problem::not_found("concert")));
    };
    if test.is_some_and(|test| test != is_test) {
        let detail = format!("cannot be changed: this concert was created with {is_test}");
        return Ok(Err(Problem::invalid_field("test", detail)));
    }
    let updated = concerts::update(connection, Concert { is_test, ..concert }).await?;
    Ok(updated.ok_or_else(|| Problem::not_found("concert")))
}
