//! The booking page of the faulty server, and what it requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;

use super::{Defect, FaultyServer, THE_TENTH};

const DOCUMENT: &str = r#"<link rel="stylesheet" href="../assets/page-1.css"><script type="module" src="../assets/page-1.js"></script>"#;

pub fn routes(defect: Defect) -> Router<Arc<FaultyServer>> {
    let page = Router::new()
        .route("/c/{id}", get(async || DOCUMENT))
        .route("/assets/page-1.css", get(async || "body {}"))
        .route("/assets/page-1.js", get(script))
        .route("/seats/concert/{id}/events", get(events));
    if defect == Defect::HasNoLayouts {
        return page;
    }
    page.route("/seats/concert/{id}/status", get(async || r#"{"layoutVersion":"1"}"#))
        .route("/seats/concert/{id}/layouts/1", get(async || "{}"))
}

async fn script(State(server): State<Arc<FaultyServer>>) -> Response {
    let number = server.page_loads.fetch_add(1, Ordering::Relaxed);
    match server.defect {
        Defect::RefusesPages if number >= THE_TENTH => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        // The first is the load generator's, which asks for no encoding.
        Defect::CorruptsPages if number > 0 => {
            ([(CONTENT_ENCODING, "gzip"), (ETAG, "\"a\"")], "this is not gzip").into_response()
        }
        _ => ([(ETAG, "\"a\"")], "export const page = 1;").into_response(),
    }
}

/// A stream without events, which never ends.
async fn events() -> impl IntoResponse {
    let body = Body::from_stream(stream::pending::<Result<String, Infallible>>());
    ([(CONTENT_TYPE, "text/event-stream")], body)
}
