use axum::Json;
use axum::extract::State;
use hamro_shared::database::{Database, StoredDate, StoredTimestamp};
use sqlx::postgres::PgConnection;

use super::concert::{Concert, ConcertRow};
use crate::http::extract::QueryParams;
use crate::http::openapi::{CATALOGUE, ParamProblems, ServerProblems};
use crate::http::pagination::{Page, PageParams, Paged};
use crate::http::problem::Problem;

/// List concerts, earliest first
#[utoipa::path(
    get,
    path = "/concerts",
    operation_id = "list_concerts",
    tag = CATALOGUE,
    params(PageParams),
    responses((status = 200, description = "One page of concerts", body = Paged<Concert>), ParamProblems, ServerProblems),
)]
pub async fn list_concerts(
    State(database): State<Database>,
    QueryParams(params): QueryParams<PageParams>,
) -> Result<Json<Paged<Concert>>, Problem> {
    let page = params.parse()?;
    let rows = database.query(move |connection| Box::pin(find(connection, page))).await?;
    let total = database.query(|connection| Box::pin(count(connection))).await?;
    Ok(Json(page.of(rows.into_iter().map(Concert::from).collect(), total)))
}

async fn find(connection: &mut PgConnection, page: Page) -> Result<Vec<ConcertRow>, sqlx::Error> {
    sqlx::query_as!(
        ConcertRow,
        r#"
        SELECT id, title, artist, date AS "date: StoredDate", time, venue, city, image, description,
               sales_open_at AS "sales_open_at: StoredTimestamp", sales_close_at AS "sales_close_at: StoredTimestamp"
        FROM concerts
        ORDER BY date, time, id
        LIMIT $1 OFFSET $2
        "#,
        page.limit,
        page.offset()
    )
    .fetch_all(connection)
    .await
}

async fn count(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM concerts"#).fetch_one(connection).await
}
