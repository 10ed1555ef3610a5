//! Writes of this instance. A client that has written something through an instance reads it there at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

/// Counts the writes. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct LocalChanges(Arc<AtomicU64>);

impl LocalChanges {
    /// Notes a write that may have been committed. What was read before is not served any more. Returns the number of writes.
    pub fn note(&self) -> u64 {
        self.0.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The number of writes so far. To be read before what it is compared with later.
    pub fn generation(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Middleware of the endpoints that write what the catalogue shows. It notes each request that is no read before its response
/// is sent, also if it failed: after some errors it is unknown whether something was committed.
pub async fn note_changes(State(changes): State<LocalChanges>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return next.run(request).await;
    }
    let response = next.run(request).await;
    changes.note();
    response
}
