//! Writes of this instance. A client that has written something through an instance reads it there at once: what was read from
//! the database before is not served any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use hamro_shared::domain::ConcertId;
use tokio::time::Instant;

/// How long it is remembered of which concert a write was. No document about its seats is used for so long.
const REMEMBERED_FOR: Duration = Duration::from_mins(5);

/// The writes of the catalogue and of releases so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OwnWrites(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    count: AtomicU64,
    latest: Mutex<Latest>,
}

/// When the latest writes ended.
#[derive(Debug, Default)]
struct Latest {
    of_any_concert: Option<Instant>,
    by_concert: HashMap<ConcertId, Instant>,
}

/// An extension of the response of an endpoint that has written nothing but the seats of these concerts. Without it, any concert
/// may have changed.
#[derive(Clone, Debug)]
pub struct WrittenConcerts(pub Vec<ConcertId>);

impl OwnWrites {
    /// Notes a write that may have been committed. Returns the number of writes.
    pub fn note(&self, concerts: Option<&WrittenConcerts>) -> u64 {
        let now = Instant::now();
        let mut latest = self.latest();
        match concerts {
            Some(WrittenConcerts(concerts)) => {
                latest.by_concert.retain(|_, at| now.duration_since(*at) < REMEMBERED_FOR);
                latest.by_concert.extend(concerts.iter().map(|concert| (*concert, now)));
            }
            None => latest.of_any_concert = Some(now),
        }
        self.0.count.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The number of writes so far. To be read before what it is compared with later.
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }

    /// When the last write ended that may have changed the concert.
    pub fn last_of(&self, concert: ConcertId) -> Option<Instant> {
        let latest = self.latest();
        latest.of_any_concert.max(latest.by_concert.get(&concert).copied())
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The middleware of endpoints that write. It notes each request that is no read before its response is sent. One that failed in
/// the server may have been committed. One that was refused has written nothing.
pub async fn note_own_writes(State(writes): State<OwnWrites>, request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let response = next.run(request).await;
    if !reads && !response.status().is_client_error() {
        writes.note(response.extensions().get());
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn_with_state;
    use axum::routing::{any, post};
    use axum::{Extension, Router};
    use tokio::time::advance;
    use tower::ServiceExt;
    use uuid::Uuid;

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
            let is_noted = writes.last_of(ConcertId(Uuid::nil())).is_some();
            assert_eq!((writes.count(), is_noted), (noted, noted > 0), "{method} {status}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_of_the_seats_of_some_concerts_is_none_of_the_others() {
        let [one, other] = [1, 2].map(|number| ConcertId(Uuid::from_u128(number)));
        let writes = OwnWrites::default();
        let release = async move || (Extension(WrittenConcerts(vec![one])), "released");
        let router = Router::new()
            .route("/", post(release))
            .layer(from_fn_with_state(writes.clone(), note_own_writes));
        let released_at = Instant::now();
        router.oneshot(Request::post("/").body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!((writes.last_of(one), writes.last_of(other)), (Some(released_at), None));
        advance(Duration::from_secs(1)).await;
        writes.note(None);
        assert_eq!(
            (writes.last_of(one), writes.last_of(other)),
            (Some(Instant::now()), Some(Instant::now()))
        );
    }
}
