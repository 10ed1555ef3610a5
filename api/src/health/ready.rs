use std::time::Duration;

use axum::Json;
use axum::extract::State;
use hamro_shared::telemetry::metrics::MetricsRegistry;
use serde::Serialize;
use tokio::time::{interval, timeout};
use utoipa::ToSchema;

use crate::http::openapi::{OPERATIONS, ReadinessProblem};
use crate::http::problem::{Problem, ProblemCode};
use crate::state::{App, AppState};

/// The instance can accept bookings.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ready {
    #[schema(example = "ok")]
    status: &'static str,
    /// `unavailable` while no database session can be opened. Bookings are still accepted; the catalogue, seat maps and
    /// most statuses return 503. `commits-blocked` while commits wait for a synchronous standby that does not respond:
    /// bookings are accepted and not settled, and everything can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "unavailable")]
    database: Option<&'static str>,
    /// The nodes of the RabbitMQ cluster that do not work, by their place in `AMQP_URL`, with the cause. Absent if all
    /// work.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!(["node 2 of 3: connection refused"]))]
    failed_broker_nodes: Vec<String>,
}

/// Readiness probe
///
/// The instance is ready while the broker accepts messages, once the database schema is up to date and the database
/// clock has been read, and until it begins to shut down. An unavailable database does not make it unready, because
/// bookings are still accepted. Nor does a paused intake: the instance still serves everything else. Nor does a node of a
/// RabbitMQ cluster that is lost while another one works.
#[utoipa::path(
    get,
    path = "/health/ready",
    operation_id = "get_readiness",
    tag = OPERATIONS,
    security(),
    responses(
        (status = 200, description = "Ready to accept bookings", body = Ready),
        (status = 431, description = "The head of the request is too large"),
        ReadinessProblem,
    ),
)]
pub async fn get_readiness(State(app): State<AppState>) -> Result<Json<Ready>, Problem> {
    check(&app)?;
    let database = if app.database.is_unavailable() {
        Some("unavailable")
    } else {
        app.database.servers().commits_are_blocked().then_some("commits-blocked")
    };
    let failed_broker_nodes = app.broker_failures.nodes();
    Ok(Json(Ready { status: "ok", database, failed_broker_nodes }))
}

/// How long an instance that starts refuses connections because it is not ready. Afterwards it accepts them, so that its
/// health checks and its problems say why.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits until the instance is ready for the first time, or has tried long enough.
pub async fn wait_until_started(app: &App) {
    let mut ticks = interval(Duration::from_millis(10));
    let ready = async {
        while !app.draining.is_cancelled() && check(app).is_err() {
            ticks.tick().await;
        }
    };
    let _ = timeout(START_TIMEOUT, ready).await;
}

/// Exports whether this instance is ready.
pub fn register_metrics(registry: &mut MetricsRegistry, state: &AppState) {
    let app = state.downgrade();
    registry.read_gauge(
        "ready",
        "Whether this instance is ready to accept bookings (1) or not (0), as /health/ready reports it",
        move || app.upgrade().map(|app| if check(&app).is_ok() { 1.0 } else { 0.0 }),
    );
}

/// Says why this instance cannot accept bookings, if it cannot.
fn check(app: &App) -> Result<(), Problem> {
    if app.draining.is_cancelled() {
        let detail = "This instance is shutting down. Send requests to another one.";
        return Err(Problem::new(ProblemCode::NotReady, detail).retry_after(1));
    }
    if !*app.schema_ready.borrow() {
        let detail = match app.database.open_failure() {
            Some(failure) => format!("The database schema is not up to date yet: {failure}"),
            None => "The database schema is not up to date yet.".to_owned(),
        };
        return Err(Problem::new(ProblemCode::NotReady, detail).retry_after(1));
    }
    if !app.database_clock.is_measured() {
        let detail = "The database clock has not been read yet.";
        return Err(Problem::new(ProblemCode::NotReady, detail).retry_after(1));
    }
    if !app.intake.is_known() {
        let detail = "It is not known yet whether the intake is paused.";
        return Err(Problem::new(ProblemCode::NotReady, detail).retry_after(1));
    }
    let failures = app.broker_failures.list();
    if !failures.is_empty() {
        return Err(Problem::new(ProblemCode::NotReady, failures.join("; ")).retry_after(1));
    }
    if !app.publisher.is_up() {
        return Err(Problem::of(ProblemCode::NotReady).retry_after(1));
    }
    Ok(())
}
