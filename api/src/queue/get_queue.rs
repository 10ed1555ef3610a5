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

/// How long the queue is and how fast it moves. `null` is what is not known at this moment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({"accepting": true, "depth": 12000, "drainRate": 8000.0, "estimatedWaitSeconds": 2}))]
pub struct QueueState {
    /// Whether bookings are taken.
    accepting: bool,
    /// Bookings that wait.
    #[schema(required = true)]
    depth: Option<u64>,
    /// Bookings settled a second.
    #[schema(required = true)]
    drain_rate: Option<f64>,
    /// In about how many seconds a booking made now will be settled.
    #[schema(required = true)]
    estimated_wait_seconds: Option<u64>,
}

/// See how long the queue is
#[utoipa::path(
    get,
    path = "/queue",
    operation_id = "get_queue",
    tag = BOOKINGS,
    responses((status = 200, description = "As of a second ago at most", body = QueueState), RateLimitProblem),
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
