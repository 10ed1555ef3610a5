//! Logs each change that an administrator has made: who, what and where.

use std::sync::{Arc, OnceLock};

use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::http::Method;
use axum::http::header::LOCATION;
use axum::middleware::Next;
use axum::response::Response;
use hamro_shared::telemetry::CHANGES;
use hamro_shared::telemetry::traces::{TraceContext, trace_id};
use tracing::info;

use super::AdminName;

/// A request extension, in which [`Admin`](super::Admin) notes whose token the request carried.
#[derive(Clone, Default)]
pub(super) struct ChangeAuthor(Arc<OnceLock<AdminName>>);

impl ChangeAuthor {
    pub fn set(&self, name: AdminName) {
        let _ = self.0.set(name);
    }
}

/// Middleware of the endpoints that administrators use. Logs a line for each successful request that is no read.
pub async fn log_changes(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let method = request.method().clone();
    let (mut parts, body) = request.into_parts();
    let resource = resource(&mut parts).await;
    let trace: Option<TraceContext> = parts.extensions.get().copied();
    let author = ChangeAuthor::default();
    parts.extensions.insert(author.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    if let Some(name) = author.0.get()
        && response.status().is_success()
    {
        let created = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let created = created.map(|location| format!(", created {location}")).unwrap_or_default();
        info!(target: CHANGES, { admin.name = %name, trace_id = trace_id(trace) }, "administrator {name}: {method} {resource}{created}");
    }
    response
}

/// The route with the values of its parameters. Unlike in the path, they are decoded, so that the log recognises ticket
/// ids and replaces them.
async fn resource(parts: &mut axum::http::request::Parts) -> String {
    let route = parts.extensions.get::<MatchedPath>();
    let mut resource = route.map_or_else(|| "(no route)".to_owned(), |route| route.as_str().to_owned());
    if let Ok(params) = RawPathParams::from_request_parts(parts, &()).await {
        for (name, value) in &params {
            resource = resource.replace(&format!("{{{name}}}"), value);
        }
    }
    resource
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing::{get, post};
    use axum::{Router, middleware};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn the_resource_is_the_route_with_decoded_parameters() {
        async fn handler(request: Request) -> String {
            let (mut parts, _) = request.into_parts();
            resource(&mut parts).await
        }
        let router = Router::new()
            .route("/concerts", post(handler))
            .route("/concerts/{concertId}/seats/{seatId}", get(handler))
            .layer(middleware::from_fn(log_changes));
        for (method, path, expected) in [
            ("POST", "/concerts?secret=1", "/concerts"),
            ("GET", "/concerts/a%62c/seats/7?x=1", "/concerts/abc/seats/7"),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let body = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap();
            assert_eq!(body, expected);
        }
    }
}
