use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::OPERATIONS;

/// The word that all is well.
#[derive(Serialize, ToSchema)]
pub struct Health {
    #[schema(example = "ok")]
    pub status: &'static str,
}

/// See whether the process lives
#[utoipa::path(
    get,
    path = "/health/live",
    operation_id = "get_liveness",
    tag = OPERATIONS,
    responses((status = 200, description = "It does", body = Health)),
)]
pub async fn get_liveness() -> Json<Health> {
    Json(Health { status: "ok" })
}
