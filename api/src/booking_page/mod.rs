//! The booking page: a document per view, one script and one style sheet. It uses the api like any other client; its
//! sources are in `page/`.
//!
//! Addresses in a document are relative, so that a proxy may serve the page below a path.

mod assets;
mod document;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;

use self::document::{HTML, Head, PageData, PageSettings, render};
use crate::catalogue::page_data::{self, CatalogueData};
use crate::catalogue_cache::{CatalogueKey, Content};
use crate::http::etag::ETag;
use crate::http::problem::Problem;
use crate::http::ready_body::CachePolicy;
use crate::state::AppState;

/// Only the concerts' pictures may come from other origins, and no inline script or style is executed.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src http: https: data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
);

const ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Where the script and the style sheet are.
pub const FILES: &str = "/assets/";

/// The paths from a document to the root of the page.
const ROOT: &str = "";
const ONE_LEVEL_DOWN: &str = "../";

pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/", get(list))
        .route("/c/{concertId}", get(concert))
        .route("/t/{ticketId}", get(ticket))
        .route("/tickets", get(tickets))
        .route("/assets/{file}", assets::route())
}

async fn list(State(app): State<AppState>, request: Request) -> Response {
    let settings = settings(&app);
    let load = || load_list(app.database.clone(), settings);
    cached(&app, request, CatalogueKey::ListPage, load, &Head::list(), ROOT).await
}

async fn concert(State(app): State<AppState>, Path(id): Path<String>, request: Request) -> Response {
    let Ok(id) = id.parse::<ConcertId>() else {
        return shell(&app, StatusCode::NOT_FOUND, &Head::missing(), ONE_LEVEL_DOWN);
    };
    let settings = settings(&app);
    let load = || load_concert(app.database.clone(), settings, id);
    cached(&app, request, CatalogueKey::ConcertPage(id), load, &Head::missing(), ONE_LEVEL_DOWN).await
}

/// The address of a ticket is all that it takes to see it, so nothing on the way keeps the document, or learns the address.
async fn ticket(State(app): State<AppState>) -> Response {
    shell(&app, StatusCode::OK, &Head::ticket(), ONE_LEVEL_DOWN)
}

/// The tickets that the visitor's device remembers.
async fn tickets(State(app): State<AppState>) -> Response {
    shell(&app, StatusCode::OK, &Head::tickets(), ROOT)
}

/// The document from the cache. Without data if there is no such concert, or if it cannot be read: then the script says so, and
/// tries again.
async fn cached<F>(
    app: &AppState,
    request: Request,
    key: CatalogueKey,
    load: impl FnOnce() -> F,
    head: &Head,
    base: &str,
) -> Response
where
    F: Future<Output = Result<Option<Content>, sqlx::Error>> + Send + 'static,
{
    // Without the body, which cannot be held while something is awaited.
    let (parts, _) = request.into_parts();
    let mut response = match app.catalogue.read(key, load).await {
        Ok(Some(cached)) => cached.body.respond(&parts.headers, CachePolicy::Catalogue, cached.age),
        Ok(None) => return shell(app, StatusCode::NOT_FOUND, head, base),
        Err(problem) => return unavailable(app, problem, head, base),
    };
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    let client = || app.response_memory.proxies().client(&parts.extensions, &parts.headers);
    app.response_memory.count_if_large(client, response).await
}

/// The status and `Retry-After` of the problem, for proxies and search engines, with a document that people can read.
fn unavailable(app: &AppState, problem: Problem, head: &Head, base: &str) -> Response {
    let problem = problem.into_response();
    let mut response = shell(app, problem.status(), head, base);
    if let Some(value) = problem.headers().get(RETRY_AFTER) {
        response.headers_mut().insert(RETRY_AFTER, value.clone());
    }
    response
}

/// A document without data.
fn shell(app: &AppState, status: StatusCode, head: &Head, base: &str) -> Response {
    let data = PageData { settings: settings(app), catalogue: None };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(HTML)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (ROBOTS_TAG, HeaderValue::from_static("noindex")),
    ];
    (status, headers, render(head, base, &data)).into_response()
}

async fn load_list(database: Database, settings: PageSettings) -> Result<Option<Content>, sqlx::Error> {
    let catalogue = database.query_large(|connection| Box::pin(page_data::list(connection))).await?;
    Ok(Some(content(&Head::list(), ROOT, settings, catalogue)))
}

async fn load_concert(
    database: Database,
    settings: PageSettings,
    id: ConcertId,
) -> Result<Option<Content>, sqlx::Error> {
    let catalogue = database.query(move |connection| Box::pin(page_data::concert(connection, id))).await?;
    Ok(catalogue.and_then(|catalogue| {
        let head = Head::concert(catalogue.concerts.first()?);
        Some(content(&head, ONE_LEVEL_DOWN, settings, catalogue))
    }))
}

fn content(head: &Head, base: &str, settings: PageSettings, catalogue: CatalogueData) -> Content {
    let bytes = render(head, base, &PageData { settings, catalogue: Some(catalogue) }).into_bytes();
    let tag = ETag::of_content(&bytes);
    Content { bytes, content_type: HTML, tag }
}

fn settings(app: &AppState) -> PageSettings {
    PageSettings { max_seats: app.policy.max_seats }
}
