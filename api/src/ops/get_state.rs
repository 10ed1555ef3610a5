use std::time::Duration;

use axum::Json;
use axum::extract::State;
use hamro_shared::audit::AuditReport;
use hamro_shared::canary::CanaryReport;
use hamro_shared::queue::{Heartbeat, ProcessState, WorkerFigures};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::controls::ControlsView;
use crate::http::admin_auth::Admin;
use crate::http::extract::{FieldErrors, QueryParams};
use crate::http::problem::Problem;
use crate::installation::reports::DeadLetterCount;
use crate::installation::{HeardProcess, Series};
use crate::state::AppState;

#[derive(Deserialize)]
pub struct Params {
    /// Seconds since the Unix epoch. By default, as much of the history as there is.
    since: Option<String>,
}

/// The whole installation. What is unknown is `null`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallationState {
    /// Seconds since the Unix epoch.
    now: i64,
    /// The instance that responds.
    instance: Uuid,
    version: &'static str,
    controls: Option<ControlsView>,
    history: Series,
    workers: Vec<WorkerView>,
    instances: Vec<InstanceView>,
    dead_letters: Option<DeadLetterCount>,
    audit: Option<AuditReport>,
    canary: Option<CanaryReport>,
    broker: BrokerView,
    database: DatabaseView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerView {
    process: Uuid,
    version: String,
    consuming: bool,
    messages: u64,
    bookings: u64,
    rate: Option<f64>,
    heard_seconds_ago: f64,
    /// Bookings that it has settled since it started. `null`: an earlier version, which does not say.
    settled_total: Option<u64>,
    not_ready: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceView {
    process: Uuid,
    version: String,
    is_this: bool,
    /// Bookings that it has published since it started.
    bookings: u64,
    heard_seconds_ago: f64,
}

#[derive(Serialize)]
struct BrokerView {
    accepts: bool,
    failures: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DatabaseView {
    reachable: bool,
    connections_in_use: u64,
    connections_max: u16,
    /// How far its clock is ahead of the clock of this instance.
    clock_offset_ms: Option<i64>,
}

/// `GET /ops/state`: what happens now and what happened in the last 15 minutes. Responds whatever the state of the broker
/// and the database.
pub async fn get_state(
    _: Admin,
    State(app): State<AppState>,
    QueryParams(params): QueryParams<Params>,
) -> Result<Json<InstallationState>, Problem> {
    let since = params.parse()?;
    let reports = app.reports.get().await;
    let instance = app.queue_estimate.process();
    let processes = app.installation.processes(Instant::now());
    Ok(Json(InstallationState {
        now: app.installation.second(),
        instance,
        version: env!("CARGO_PKG_VERSION"),
        controls: app.intake.current().map(ControlsView::from),
        history: app.installation.series(since),
        workers: processes.iter().filter_map(WorkerView::of).collect(),
        instances: processes.iter().filter_map(|process| InstanceView::of(process, instance)).collect(),
        dead_letters: reports.as_ref().map(|reports| reports.dead_letters),
        audit: reports.as_ref().and_then(|reports| reports.audit.clone()),
        canary: reports.as_ref().and_then(|reports| reports.canary.clone()),
        broker: BrokerView {
            accepts: app.publisher.is_up(),
            failures: [app.broker_failures.list(), app.broker_failures.nodes()].concat(),
        },
        database: DatabaseView::of(&app, reports.is_some()),
    }))
}

impl Params {
    fn parse(self) -> Result<i64, Problem> {
        let mut fields = FieldErrors::default();
        let since = self.since.map_or(Ok(0), |text| text.parse());
        let since = fields.check("since", since.map_err(|_| "must be in whole seconds since the Unix epoch"));
        fields.finish(since)
    }
}

impl DatabaseView {
    fn of(app: &AppState, has_responded: bool) -> Self {
        let (connections_in_use, connections_max) = app.database.sessions_in_use();
        Self {
            reachable: has_responded && !app.database.is_unavailable(),
            connections_in_use,
            connections_max,
            clock_offset_ms: app.database_clock.offset_millis(),
        }
    }
}

impl WorkerView {
    fn of(process: &HeardProcess) -> Option<Self> {
        let Heartbeat { process: id, version, state: ProcessState::Worker(worker) } = &process.heartbeat
        else {
            return None;
        };
        Some(Self {
            process: *id,
            version: version.clone(),
            consuming: worker.consuming,
            messages: worker.messages,
            bookings: worker.bookings,
            rate: worker.rate.map(tenths),
            heard_seconds_ago: seconds(process.silent_for),
            settled_total: worker.figures.as_ref().map(WorkerFigures::settled_total),
            not_ready: worker.not_ready.clone(),
        })
    }
}

impl InstanceView {
    fn of(process: &HeardProcess, this: Uuid) -> Option<Self> {
        let Heartbeat { process: id, version, state: ProcessState::Api(published) } = &process.heartbeat
        else {
            return None;
        };
        Some(Self {
            process: *id,
            version: version.clone(),
            is_this: *id == this,
            bookings: published.bookings,
            heard_seconds_ago: seconds(process.silent_for),
        })
    }
}

fn seconds(duration: Duration) -> f64 {
    tenths(duration.as_secs_f64())
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
