use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::http::openapi::{BOOKINGS, RateLimitProblem};
use crate::http::retry_after::whole_seconds;
use crate::state::AppState;

/// Length and speed of the queue. A value that is currently unknown is `null`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"accepting": true, "depth": 12000, "drainRate": 8000.0, "estimatedWaitSeconds": 2}))]
pub struct QueueState {
    /// Whether bookings are accepted.
    accepting: bool,
    /// Number of bookings in the queue.
    #[schema(required = true)]
    depth: Option<u64>,
    /// Bookings settled per second.
    #[schema(required = true)]
    drain_rate: Option<f64>,
    /// Approximate seconds until a booking made now is settled.
    #[schema(required = true)]
    estimated_wait_seconds: Option<u64>,
}

/// Get the state of the queue
///
/// Whether bookings are accepted, how many are waiting, and about how long a new one would wait.
#[utoipa::path(
    get,
    path = "/queue",
    operation_id = "get_queue",
    tag = BOOKINGS,
    security(),
    responses((status = 200, description = "The state of the queue, at most a second old", body = QueueState), RateLimitProblem),
)]
pub async fn get_queue(State(app): State<AppState>) -> impl IntoResponse {
    let now = Instant::now();
    let depth = app.queue_estimate.depth(now);
    let wait = depth.and_then(|depth| app.queue_estimate.eta(depth, now));
    let state = QueueState {
        accepting: app.is_accepting(now),
        depth,
        drain_rate: app.queue_estimate.drain_rate(now),
        estimated_wait_seconds: wait.map(whole_seconds),
    };
    ([(CACHE_CONTROL, HeaderValue::from_static("public, max-age=1"))], Json(state))
}
