use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::{OPERATIONS, ReadinessProblem};
use crate::http::problem::{Problem, ProblemCode};
use crate::state::AppState;

/// The word that the instance can take bookings.
#[derive(Serialize, ToSchema)]
pub struct Ready {
    #[schema(example = "ok")]
    status: &'static str,
    /// `unavailable` while no session of the database can be opened. Bookings are taken all the same; catalogue, seat maps and
    /// most statuses are answered 503.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "unavailable")]
    database: Option<&'static str>,
}

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
        (status = 200, description = "It can", body = Ready),
        ReadinessProblem,
    ),
)]
pub async fn get_readiness(State(app): State<AppState>) -> Result<Json<Ready>, Problem> {
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
    let database = app.database.is_unavailable().then_some("unavailable");
    Ok(Json(Ready { status: "ok", database }))
}
