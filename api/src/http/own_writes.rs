//! Writes of this instance. A client that has written something through an instance reads it there at once: what was read from
//! the database before is not served any more.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;

/// The writes of the catalogue and of releases so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OwnWrites(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    count: AtomicU64,
    last: Mutex<Option<Instant>>,
}

impl OwnWrites {
    /// Notes a write that may have been committed. Returns the number of writes.
    pub fn note(&self) -> u64 {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.count.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The number of writes so far. To be read before what it is compared with later.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }

    /// When the last write ended.
    pub fn last(&self) -> Option<Instant> {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The middleware of endpoints that write. It notes each request that is no read before its response is sent. One that failed in
/// the server may have been committed. One that was refused has written nothing.
pub async fn note_own_writes(State(writes): State<OwnWrites>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let response = next.run(request).await;
    if !reads && !response.status().is_client_error() {
        writes.note();
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::any;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn only_requests_that_may_have_changed_something_are_noted() {
        for (method, status, noted) in [
            (Method::POST, StatusCode::CREATED, 1),
            (Method::DELETE, StatusCode::NO_CONTENT, 1),
            (Method::PUT, StatusCode::SERVICE_UNAVAILABLE, 1),
            (Method::PUT, StatusCode::UNAUTHORIZED, 0),
            (Method::PUT, StatusCode::PRECONDITION_FAILED, 0),
            (Method::GET, StatusCode::OK, 0),
            (Method::HEAD, StatusCode::OK, 0),
        ] {
            let writes = OwnWrites::default();
            let router = Router::new()
                .route("/", any(async move || status))
                .layer(from_fn_with_state(writes.clone(), note_own_writes));
            let request = Request::builder().method(method.clone()).uri("/").body(Body::empty()).unwrap();
            assert_eq!(router.oneshot(request).await.unwrap().status(), status);
            assert_eq!((writes.count(), writes.last().is_some()), (noted, noted > 0), "{method} {status}");
        }
    }
}
