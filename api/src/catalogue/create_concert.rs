use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::concert::Concert;
use super::concert_body::{ConcertBody, ConcertDetails};
use super::concert_time;
use super::create_once::create_once;
use super::queries::concerts;
use crate::http::admin_auth::Admin;
use crate::http::created::Created;
use crate::http::keyed_body::{CreationKeyParam, KeyedBody};
use crate::http::openapi::{AdminProblems, CATALOGUE, KeyedBodyProblems, ServerProblems};
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
    params(CreationKeyParam),
    request_body = ConcertBody,
    responses(
        (status = 201, description = "The new concert", body = Concert, headers(
            ("Location" = String, description = "URL of the concert"),
            ("ETag" = String, description = "For `If-Match`"),
        )),
        KeyedBodyProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn create_concert(
    _: Admin,
    State(database): State<Database>,
    KeyedBody { body, key }: KeyedBody<ConcertBody>,
) -> Result<Created, Problem> {
    let details = body.parse()?;
    create_once(&database, key, |connection| Box::pin(create(connection, details))).await?
}

/// Creates the concert, or returns what is wrong with the request.
async fn create(
    connection: &mut PgConnection,
    details: ConcertDetails,
) -> Result<Result<Created, Problem>, sqlx::Error> {
    let allow_past_date = details.allow_past_date;
    let concert = details.create(ConcertId(Uuid::new_v4()));
    if let Err(problem) = concert_time::check(connection, &concert, None, allow_past_date).await? {
        return Ok(Err(problem));
    }
    let concert = concerts::insert(connection, concert).await?;
    let location = format!("/concerts/{}", concert.id);
    Ok(Ok(Created::new(location, &concert).tagged(&concert.etag())))
}
