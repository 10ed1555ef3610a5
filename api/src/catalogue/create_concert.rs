use axum::extract::State;
use hamro_shared::database::{Database, StoredDate, StoredTimestamp};
use hamro_shared::domain::Timestamp;
use sqlx::postgres::PgConnection;

use super::concert::{Concert, ConcertBody, ConcertDetails, ConcertRow};
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
    let row = database.transaction(move |connection| Box::pin(insert(connection, details))).await?;
    Ok(Created { location: format!("/concerts/{}", row.id), body: row.into() })
}

async fn insert(connection: &mut PgConnection, details: ConcertDetails) -> Result<ConcertRow, sqlx::Error> {
    sqlx::query_as!(
        ConcertRow,
        r#"
        INSERT INTO concerts (title, artist, date, time, venue, city, image, description, sales_open_at, sales_close_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        RETURNING id, title, artist, date AS "date: StoredDate", time, venue, city, image, description,
                  sales_open_at AS "sales_open_at: StoredTimestamp", sales_close_at AS "sales_close_at: StoredTimestamp"
        "#,
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
    ).fetch_one(connection).await
}
