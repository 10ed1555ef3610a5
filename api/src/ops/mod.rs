//! What operators see and control during a rush. Every request for data needs the token of an administrator, and no such
//! response is stored by a cache. [`page`] shows the data.
//!
//! These endpoints are not part of the public contract, and so not of the OpenAPI document: they change with the page that
//! uses them. docs/RUNBOOK.md describes them.

mod change_controls;
mod controls;
mod dead_letters;
mod get_controls;
mod get_state;
mod list_changes;
pub mod page;
mod update_concert_controls;
mod update_controls;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{get, post, put};

use crate::state::AppState;

pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/ops/state", get(get_state::get_state))
        .route("/ops/controls", get(get_controls::get_controls).put(update_controls::update_controls))
        .route("/ops/controls/concerts/{id}", put(update_concert_controls::update_concert_controls))
        .route("/ops/controls/changes", get(list_changes::list_changes))
        .route("/ops/dead-letters", get(dead_letters::list))
        .route("/ops/dead-letters/{id}", get(dead_letters::show))
        .route("/ops/dead-letters/{id}/reissue", post(dead_letters::reissue))
        .route("/ops/dead-letters/{id}/discard", post(dead_letters::discard))
        .layer(map_response(not_cached))
}

async fn not_cached(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
