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
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "get_liveness",
    tag = OPERATIONS,
    responses((status = 200, description = "The process is running", body = Health)),
)]
pub async fn get_liveness() -> Json<Health> {
    Json(Health { status: "ok" })
}
