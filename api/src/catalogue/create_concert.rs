use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::concert::Concert;
use super::concert_body::{ConcertBody, ConcertDetails};
use super::concert_time;
use super::queries::concerts;
use crate::http::admin_auth::Admin;
use crate::http::created::Created;
use crate::http::extract::JsonBody;
use crate::http::openapi::{AdminProblems, BodyProblems, CATALOGUE, ServerProblems};
use crate::http::problem::Problem;

/// Create a concert
///
/// Next, add ticket tiers (`POST /ticket-tiers`), and seats to each of them (`POST /concerts/{concertId}/seats`).
#[utoipa::path(
    post,
    path = "/concerts",
    operation_id = "create_concert",
    tag = CATALOGUE,
    security(("adminToken" = [])),
    request_body = ConcertBody,
    responses(
        (status = 201, description = "The new concert", body = Concert, headers(
            ("Location" = String, description = "URL of the concert"),
        )),
        BodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn create_concert(
    _: Admin,
    State(database): State<Database>,
    JsonBody(body): JsonBody<ConcertBody>,
) -> Result<Created<Concert>, Problem> {
    let details = body.parse()?;
    let created = database.transaction(move |connection| Box::pin(create(connection, details))).await?;
    let concert = created?;
    Ok(Created { location: format!("/concerts/{}", concert.id), body: concert })
}

/// Creates the concert, or returns what is wrong with the request.
async fn create(
    connection: &mut PgConnection,
    details: ConcertDetails,
) -> Result<Result<Concert, Problem>, sqlx::Error> {
    let allow_past_date = details.allow_past_date;
    let concert = details.create(ConcertId(Uuid::new_v4()));
    match concert_time::check(connection, &concert, None, allow_past_date).await? {
        Ok(()) => concerts::insert(connection, concert).await.map(Ok),
        Err(problem) => Ok(Err(problem)),
    }
}
