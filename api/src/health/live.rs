use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::OPERATIONS;

/// The process is running.
#[derive(Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// Liveness probe
///
/// Responds as long as the process can serve requests, whatever the state of the broker and the database.
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "get_liveness",
    tag = OPERATIONS,
    security(),
    responses(
        (status = 200, description = "The process is running", body = Health),
        (status = 431, description = "The head of the request is too large"),
    ),
)]
pub async fn get_liveness() -> Json<Health> {
    Json(Health { status: "ok" })
}
