//! A seat, as it is shown and as it is read.

use axum::Json;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hamro_shared::database::StoredTimestamp;
use hamro_shared::domain::Timestamp;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::etag::ETag;
use crate::http::problem::Problem;
use crate::seat_feed::version::{SeatMapVersion, concert_exists};
use crate::state::AppState;

/// A seat. It does not show who booked it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Seat {
    #[schema(example = 4)]
    pub id: i32,
    #[schema(example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11")]
    pub concert_id: Uuid,
    #[schema(example = 1)]
    pub ticket_tier_id: i32,
    #[schema(example = "V-4")]
    pub seat_number: String,
    #[schema(example = 2)]
    pub row: i32,
    #[schema(example = "vip")]
    pub section: String,
    pub is_booked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub booked_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A seat as the database has it.
struct SeatRow {
    id: i32,
    concert_id: Uuid,
    ticket_tier_id: i32,
    seat_number: String,
    row: i32,
    section: String,
    booked_at: Option<StoredTimestamp>,
    created_at: StoredTimestamp,
    updated_at: StoredTimestamp,
}

impl From<SeatRow> for Seat {
    fn from(row: SeatRow) -> Self {
        Self {
            id: row.id,
            concert_id: row.concert_id,
            ticket_tier_id: row.ticket_tier_id,
            seat_number: row.seat_number,
            row: row.row,
            section: row.section,
            is_booked: row.booked_at.is_some(),
            booked_at: row.booked_at.map(Into::into),
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
        }
    }
}

/// Answers with the seats of a concert in the order of their ids, or only those that nobody has, in the shape of
/// `document`. A client that has them as they are is spared both the answer and the query for it.
pub async fn seats_of_concert<T: Serialize>(
    app: &AppState,
    concert: Uuid,
    only_free: bool,
    headers: &HeaderMap,
    document: impl FnOnce(Vec<Seat>) -> T + Send + 'static,
) -> Result<Response, Problem> {
    // Before the seats: should one be sold in between, they are newer than their tag, which the next request finds out.
    let version = app.database.query(move |connection| Box::pin(SeatMapVersion::of_one(connection, concert)));
    let version = version.await?;
    let etag = ETag::of(&version.tag);
    let cache = [(CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    // A concert without tiers has no version.
    if !version.tag.is_empty() && etag.is_known_to(headers) {
        return Ok((StatusCode::NOT_MODIFIED, cache, etag, ()).into_response());
    }
    let database = app.database.clone();
    app.large_responses
        .build(headers, async move {
            let seats = database
                .query_large(move |connection| Box::pin(find_seats(connection, concert, only_free)))
                .await?
                .ok_or_else(|| Problem::not_found("concert"))?;
            Ok((cache, etag, Json(document(seats))).into_response())
        })
        .await
}

/// `None` if there is no such concert.
async fn find_seats(
    connection: &mut PgConnection,
    concert: Uuid,
    only_free: bool,
) -> Result<Option<Vec<Seat>>, sqlx::Error> {
    let rows = sqlx::query_as!(
        SeatRow,
        r#"
        SELECT id, concert_id, ticket_tier_id, seat_number, "row", section, booked_at AS "booked_at: StoredTimestamp",
               created_at AS "created_at: StoredTimestamp", updated_at AS "updated_at: StoredTimestamp"
        FROM seats
        WHERE concert_id = $1 AND (booked_at IS NULL OR NOT $2)
        ORDER BY id
        "#,
        concert,
        only_free
    )
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() && !concert_exists(connection, concert).await? {
        return Ok(None);
    }
    Ok(Some(rows.into_iter().map(Seat::from).collect()))
}
