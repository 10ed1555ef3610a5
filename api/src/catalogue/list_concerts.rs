use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;

use super::concert::Concert;
use super::queries::concerts;
use crate::http::extract::QueryParams;
use crate::http::openapi::{CATALOGUE, ParamProblems, ServerProblems};
use crate::http::pagination::{PageParams, Paged};
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
    let listed = database.query(move |connection| Box::pin(concerts::list(connection, page))).await?;
    let total = database.query(|connection| Box::pin(concerts::count(connection))).await?;
    Ok(Json(page.of(listed, total)))
}
