use axum::Json;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use hamro_shared::database::Database;
use serde::Deserialize;

use super::cached::respond;
use super::concert::Concert;
use super::queries::concerts;
use crate::catalogue_cache::DocumentKey;
use crate::http::admin_auth::AdminCheck;
use crate::http::extract::QueryParams;
use crate::http::openapi::{AdminProblems, CATALOGUE, EncodingProblem, ParamProblems, ServerProblems};
use crate::http::pagination::{Page, PageParams, Paged};
use crate::http::problem::Problem;
use crate::http::ready_body::IfNoneMatchParam;
use crate::state::AppState;

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
    params(PageParams, ConcertFilter, IfNoneMatchParam),
    responses(
        (status = 200, description = "One page of concerts", body = Paged<Concert>, headers(
            ("ETag" = String, description = "For `If-None-Match`"),
            ("Age" = u64, description = "Seconds since the document was known to be current, if the database is not available"),
            ("CDN-Cache-Control" = String, description = "For how long shared caches may serve the document (RFC 9213)"),
        )),
        (status = 304, description = "The client already has the current version"),
        ParamProblems, EncodingProblem, AdminProblems, ServerProblems,
    ),
)]
pub async fn list_concerts(
    State(app): State<AppState>,
    QueryParams(params): QueryParams<PageParams>,
    QueryParams(filter): QueryParams<ConcertFilter>,
    request: Request,
) -> Result<Response, Problem> {
    let page = params.parse()?;
    if filter.parse()? {
        let (mut parts, _) = request.into_parts();
        let Ok(admin) = AdminCheck::from_request_parts(&mut parts, &app).await;
        admin.authorise()?;
        return Ok(Json(test_concerts(&app.database, page).await?).into_response());
    }
    respond(&app, request, DocumentKey::Concerts(page), "page").await
}

/// Only administrators see them, so they are not cached.
async fn test_concerts(database: &Database, page: Page) -> Result<Paged<Concert>, Problem> {
    let listed = database.query(move |connection| Box::pin(concerts::list(connection, true, page))).await?;
    let total = database.query(|connection| Box::pin(concerts::count(connection, true))).await?;
    Ok(page.of(listed, total))
}

impl ConcertFilter {
    /// Whether to list the test concerts.
    fn parse(self) -> Result<bool, Problem> {
        let Some(text) = self.test else { return Ok(false) };
        text.parse().map_err(|_| Problem::invalid_field("test", "must be true or false"))
    }
}
