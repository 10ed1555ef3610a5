use axum::Json;
use axum::extract::State;
use hamro_shared::database::{Database, StoredDate, StoredTimestamp};
use hamro_shared::domain::Timestamp;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::concert::{Concert, ConcertBody, ConcertDetails, ConcertRow};
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
#[expect(dead_code, reason = "says in the document what `BodyWithId` reads")]
pub struct ConcertUpdate {
    id: Uuid,
    #[serde(flatten)]
    body: ConcertBody,
}

/// Update a concert
///
/// The body replaces all fields of the concert.
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
    JsonBodyWithId { id, body }: JsonBodyWithId<Uuid, ConcertBody>,
) -> Result<Json<Concert>, Problem> {
    let details = body.parse()?;
    let row = database.transaction(move |connection| Box::pin(update(connection, id, details))).await?;
    row.map(|row| Json(row.into())).ok_or_else(|| Problem::not_found("concert"))
}

async fn update(
    connection: &mut PgConnection,
    id: Uuid,
    details: ConcertDetails,
) -> Result<Option<ConcertRow>, sqlx::Error> {
    sqlx::query_as!(
        ConcertRow,
        r#"
        UPDATE concerts
        SET title = $2, artist = $3, date = $4, time = $5, venue = $6, city = $7, image = $8, description = $9,
            sales_open_at = $10, sales_close_at = $11
        WHERE id = $1
        RETURNING id, title, artist, date AS "date: StoredDate", time, venue, city, image, description,
                  sales_open_at AS "sales_open_at: StoredTimestamp", sales_close_at AS "sales_close_at: StoredTimestamp"
        "#,
        id,
        details.title,
        details.artist,
        details.date,
        details.time,
        details.venue,
        details.city,
        details.image,
        details.description,
        details.sales_open_at.map(Timestamp::datetime),
        details.sales_close_at.map(Timestamp::datetime),
    ).fetch_optional(connection).await
}
