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
#[schema(example = json!({
    "accepting": true, "depth": 12000, "workers": 2, "drainRate": 8000.0, "estimatedWaitSeconds": 2,
}))]
pub struct QueueState {
    /// Whether bookings are accepted.
    accepting: bool,
    /// Number of bookings that are not settled: in the queue, or held by a worker.
    #[schema(required = true)]
    depth: Option<u64>,
    /// Number of running workers. While it is 0, bookings wait.
    #[schema(required = true)]
    workers: Option<usize>,
    /// Bookings per second that these workers settle while there are any.
    #[schema(required = true)]
    drain_rate: Option<f64>,
    /// Approximate seconds until a booking made now is settled. `null` while no worker is running.
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
    let depth = app.queue_estimate.depth();
    let wait = depth.and_then(|depth| app.queue_estimate.eta(depth, now));
    let state = QueueState {
        accepting: app.is_accepting(),
        depth,
        workers: app.queue_estimate.workers(now),
        drain_rate: app.queue_estimate.drain_rate(now),
        estimated_wait_seconds: wait.map(whole_seconds),
    };
    ([(CACHE_CONTROL, HeaderValue::from_static("public, max-age=1"))], Json(state))
}
