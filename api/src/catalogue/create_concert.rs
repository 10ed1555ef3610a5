use axum::extract::State;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use uuid::Uuid;

use super::concert::Concert;
use super::concert_body::ConcertBody;
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
    let concert = body.parse()?.create(ConcertId(Uuid::new_v4()));
    let concert =
        database.transaction(move |connection| Box::pin(concerts::insert(connection, concert))).await?;
    Ok(Created { location: format!("/concerts/{}", concert.id), body: concert })
}
