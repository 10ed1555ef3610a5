use axum::Json;
use axum::extract::State;
use hamro_shared::database::{Database, StoredDate, StoredTimestamp};
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::concert::{Concert, ConcertRow};
use crate::http::extract::PathId;
use crate::http::openapi::{CATALOGUE, NotFoundProblem, ParamProblems, ServerProblems};
use crate::http::problem::Problem;

/// Get a concert
#[utoipa::path(
    get,
    path = "/concerts/{concertId}",
    operation_id = "get_concert",
    tag = CATALOGUE,
    params(("concertId" = Uuid, Path, description = "The concert's id")),
    responses(
        (status = 200, description = "The concert", body = Concert),
        NotFoundProblem, ParamProblems, ServerProblems,
    ),
)]
pub async fn get_concert(
    State(database): State<Database>,
    PathId(id): PathId<Uuid>,
) -> Result<Json<Concert>, Problem> {
    let row = database.query(move |connection| Box::pin(find(connection, id))).await?;
    row.map(|row| Json(row.into())).ok_or_else(|| Problem::not_found("concert"))
}

async fn find(connection: &mut PgConnection, id: Uuid) -> Result<Option<ConcertRow>, sqlx::Error> {
    sqlx::query_as!(
        ConcertRow,
        r#"
        SELECT id, title, artist, date AS "date: StoredDate", time, venue, city, image, description,
               sales_open_at AS "sales_open_at: StoredTimestamp", sales_close_at AS "sales_close_at: StoredTimestamp"
        FROM concerts
        WHERE id = $1
        "#,
        id
    )
    .fetch_optional(connection)
    .await
}
