use axum::Json;
use axum::extract::State;

use super::live::Health;
use crate::openapi::{OPERATIONS, ReadinessProblem};
use crate::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// See whether the instance can take bookings
///
/// It can while the broker takes messages, once the schema has been brought up to date and the database's clock has been read.
/// It keeps taking bookings while the database is down, so that does not count.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "get_readiness",
    tag = OPERATIONS,
    responses(
        (status = 200, description = "It can", body = Health),
        ReadinessProblem,
    ),
)]
pub async fn get_readiness(State(app): State<AppState>) -> Result<Json<Health>, Problem> {
    if !*app.schema_ready.borrow() {
        return Err(Problem::new(ProblemCode::NotReady, "The schema is not up to date yet.").retry_after(1));
    }
    if !app.database_clock.is_measured() {
        let detail = "The database's clock has not been read yet.";
        return Err(Problem::new(ProblemCode::NotReady, detail).retry_after(1));
    }
    if !app.publisher.is_up() {
        return Err(Problem::new(ProblemCode::NotReady, "The broker takes no messages.").retry_after(1));
    }
    Ok(Json(Health { status: "ok" }))
}
