use axum::Json;
use axum::extract::State;
use hamro_shared::database::Database;
use serde::Deserialize;

use super::concert::Concert;
use super::queries::concerts;
use crate::http::admin_auth::AdminCheck;
use crate::http::extract::QueryParams;
use crate::http::openapi::{AdminProblems, CATALOGUE, ParamProblems, ServerProblems};
use crate::http::pagination::{PageParams, Paged};
use crate::http::problem::Problem;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ConcertFilter {
    /// `true` lists the test concerts instead, which requires the admin token.
    #[param(value_type = Option<bool>, default = false, example = false)]
    test: Option<String>,
}

/// List concerts, the next one first
///
/// Concerts to come are listed first, the next one first, and then past ones, the most recent first. One page at a time,
/// without test concerts.
#[utoipa::path(
    get,
    path = "/concerts",
    operation_id = "list_concerts",
    tag = CATALOGUE,
    security((), ("adminToken" = [])),
    params(PageParams, ConcertFilter),
    responses(
        (status = 200, description = "One page of concerts", body = Paged<Concert>),
        ParamProblems, AdminProblems, ServerProblems,
    ),
)]
pub async fn list_concerts(
    admin: AdminCheck,
    State(database): State<Database>,
    QueryParams(params): QueryParams<PageParams>,
    QueryParams(filter): QueryParams<ConcertFilter>,
) -> Result<Json<Paged<Concert>>, Problem> {
    let page = params.parse()?;
    let is_test = filter.parse()?;
    if is_test {
        admin.authorise()?;
    }
    let listed =
        database.query(move |connection| Box::pin(concerts::list(connection, is_test, page))).await?;
    let total = database.query(move |connection| Box::pin(concerts::count(connection, is_test))).await?;
    Ok(Json(page.of(listed, total)))
}

impl ConcertFilter {
    /// Whether to list the test concerts.
    fn parse(self) -> Result<bool, Problem> {
        let Some(text) = self.test else { return Ok(false) };
        text.parse().map_err(|_| Problem::invalid_field("test", "must be true or false"))
    }
}
