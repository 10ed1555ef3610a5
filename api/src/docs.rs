//! The OpenAPI document at `/openapi.json`, and Swagger UI, which shows it, at `/docs`. An installation can switch off
//! the page (`DOCS=false`), on which administrators type their token. The document stays, because clients are generated
//! from it, and it contains nothing that is secret.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::openapi::{OpenApi, Server};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::http::problem::Problem;
use crate::server::config::HttpConfig;
use crate::state::AppState;

const DOCUMENT: &str = "/openapi.json";

/// The document as seen from `/docs/`, which a proxy may serve below a path.
const DOCUMENT_FROM_PAGE: &str = "../openapi.json";

/// Swagger UI runs only its own scripts, sends requests only to this api, and cannot be shown in a frame. Its pictures are
/// data URLs, and the hash is that of the only inline style, which colours its logo. A browser's console names the new one
/// if an upgrade changes it.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; \
     style-src 'self' 'sha256-RL3ie0nH+Lzz2YNqQN83mnU0J1ot4QL7b99vMdIX99w='; img-src 'self' data:; \
     connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
);

pub fn routes(mut document: OpenApi, config: &HttpConfig) -> Router<AppState> {
    if let Some(url) = &config.public_url {
        document.servers = Some(vec![Server::new(url.as_str())]);
    }
    // Serialized once.
    let json = Bytes::from(serde_json::to_vec(&document).expect("is JSON"));
    let document = Router::new()
        .route(DOCUMENT, get(async move || ([(CONTENT_TYPE, "application/json")], json.clone())));
    if !config.has_docs {
        return document;
    }
    let page = SwaggerUi::new("/docs").config(Config::from(DOCUMENT_FROM_PAGE));
    document.merge(Router::from(page).layer(map_response(complete)))
}

/// Completes a response of Swagger UI.
async fn complete(mut response: Response) -> Response {
    if response.status() == StatusCode::NOT_FOUND {
        response = Problem::not_found("path").into_response();
    }
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    response
}
