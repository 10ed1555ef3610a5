//! Health checks for orchestrators, on `WORKER_HTTP_PORT`: `/health/live` and `/health/ready`. Programs on this machine also
//! get `/metrics` there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hamro_shared::config::Env;
use hamro_shared::config::shared_settings::read_host;
use hamro_shared::metric_labels;
use hamro_shared::queue::RoleFailures;
use hamro_shared::telemetry::metrics::{Exposition, METRICS_PATH, MetricsRegistry, is_local_request};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How long a note is shown after it was last set.
const NOTE_LIFETIME: Duration = Duration::from_mins(1);

/// Where to serve health checks; nowhere by default.
#[derive(Clone, Copy, Debug)]
pub struct HealthConfig {
    pub address: Option<SocketAddr>,
}

impl HealthConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let host = read_host(env);
        let port = env
            .variable(
                "WORKER_HTTP_PORT",
                "Port of /health/live and /health/ready, and of /metrics for this machine. Without it, a worker serves no health checks.",
                "a TCP port such as 3001",
            )
            .optional();
        let (host, port) = (host?, port?);
        Some(Self { address: port.map(|port| SocketAddr::new(host, port)) })
    }
}

/// A batch is settled within seconds. One that takes longer is blocked by something.
const SLOW_AFTER: Duration = Duration::from_secs(10);

/// The state of one part of the worker: the reason why it is not ready, if any. A part cannot clear the reason of
/// another. The poison isolator and its executor share one handle, and so count as one part.
#[derive(Clone)]
pub struct Readiness(Arc<Mutex<PartState>>);

struct PartState {
    reason: Option<Reason>,
    busy_since: Option<Instant>,
    note: Option<(&'static str, Instant)>,
}

#[derive(Clone, Copy)]
struct Reason {
    text: &'static str,
    /// It holds until then, or until it is cleared.
    until: Option<Instant>,
}

impl Readiness {
    /// A part that has not started.
    pub fn starting() -> Self {
        Self::with_reason(Some("not consuming yet"))
    }

    /// A part that is ready until it reports otherwise.
    pub fn ready() -> Self {
        Self::with_reason(None)
    }

    fn with_reason(reason: Option<&'static str>) -> Self {
        let reason = reason.map(|text| Reason { text, until: None });
        Self(Arc::new(Mutex::new(PartState { reason, busy_since: None, note: None })))
    }

    fn state(&self) -> MutexGuard<'_, PartState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why this part is not ready, if it is not.
    pub fn reason(&self) -> Option<&'static str> {
        self.reason_at(Instant::now())
    }

    fn reason_at(&self, now: Instant) -> Option<&'static str> {
        let state = self.state();
        let holds = |reason: &Reason| reason.until.is_none_or(|until| now < until);
        let is_slow = state.busy_since.is_some_and(|since| now.duration_since(since) > SLOW_AFTER);
        state
            .reason
            .filter(holds)
            .map(|reason| reason.text)
            .or(is_slow.then_some("a batch has been running for more than 10 s"))
    }

    pub fn set_not_ready(&self, reason: &'static str) {
        self.state().reason = Some(Reason { text: reason, until: None });
    }

    /// Sets the reason for at most `duration`.
    pub fn set_not_ready_for(&self, duration: Duration, reason: &'static str) {
        self.state().reason = Some(Reason { text: reason, until: Some(Instant::now() + duration) });
    }

    pub fn set_ready(&self) {
        self.state().reason = None;
    }

    /// Reports something that operators should know although the part is ready. It is shown for a minute.
    pub fn note(&self, note: &'static str) {
        self.state().note = Some((note, Instant::now()));
    }

    /// The latest note, while it is shown.
    fn latest_note(&self) -> Option<&'static str> {
        self.state().note.filter(|(_, made)| made.elapsed() < NOTE_LIFETIME).map(|(note, _)| note)
    }

    /// Marks the part as busy until the guard is dropped, which also clears its reason.
    pub fn busy_guard(&self) -> BusyGuard {
        self.state().busy_since = Some(Instant::now());
        BusyGuard(self.clone())
    }
}

pub struct BusyGuard(Readiness);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.state().busy_since = None;
        self.0.set_ready();
    }
}

/// The states of all parts, and of the connections to the broker. The worker is ready if every part is and every
/// connection works.
#[derive(Clone, Default)]
pub struct Health {
    parts: Vec<(&'static str, Readiness)>,
    broker_failures: RoleFailures,
}

metric_labels! {
    struct Check {
        check,
    }
}

#[derive(Serialize)]
struct HealthResponse {
    status: String,
    /// What operators should know although the worker is ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl HealthResponse {
    fn of(status: &str, notes: Vec<String>) -> Json<Self> {
        Json(Self { status: status.to_owned(), notes })
    }
}

impl Health {
    pub fn new(broker_failures: RoleFailures) -> Self {
        Self { parts: Vec::new(), broker_failures }
    }

    /// Adds a part. Returns the handle through which it reports.
    pub fn register(&mut self, name: &'static str, readiness: Readiness) -> Readiness {
        self.parts.push((name, readiness.clone()));
        readiness
    }

    /// Exports whether each part works, and the connections to the broker as one more. Parts with the same name are one
    /// check.
    pub fn export(&self, registry: &mut MetricsRegistry) {
        let health = self.clone();
        let help = "Whether a part of the worker works, as /health/ready reports it";
        registry.read_gauges("worker_ready", help, move || {
            let ready = |(check, is_ready)| (Check { check }, if is_ready { 1.0 } else { 0.0 });
            health.checks().into_iter().map(ready).collect()
        });
    }

    fn checks(&self) -> BTreeMap<&'static str, bool> {
        let mut checks = BTreeMap::from([("broker", self.broker_failures.list().is_empty())]);
        for (name, part) in &self.parts {
            *checks.entry(name).or_insert(true) &= part.reason().is_none();
        }
        checks
    }

    /// Why this worker is not ready, by part and by connection.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = self.all(Readiness::reason);
        reasons.extend(self.broker_failures.list());
        reasons
    }

    /// Notes, by part, and the nodes of the broker that do not work.
    fn notes(&self) -> Vec<String> {
        let mut notes = self.all(Readiness::latest_note);
        notes.extend(self.broker_failures.nodes().iter().map(|failure| format!("broker: {failure}")));
        notes
    }

    fn all(&self, get: fn(&Readiness) -> Option<&'static str>) -> Vec<String> {
        self.parts
            .iter()
            .filter_map(|(name, readiness)| get(readiness).map(|text| format!("{name}: {text}")))
            .collect()
    }

    /// Serves health checks on `address`. Once `draining` is cancelled, the worker is not ready.
    pub async fn serve(
        self,
        address: SocketAddr,
        exposition: Exposition,
        draining: CancellationToken,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}: set HOST and WORKER_HTTP_PORT to a free address")
        })?;
        info!("serving health checks on http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/health/live", get(async || HealthResponse::of("ok", Vec::new())))
            .route("/health/ready", get(ready))
            .with_state((self, draining))
            .route(METRICS_PATH, get(metrics).with_state(exposition));
        axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
            .context("serving HTTP")
    }
}

async fn ready(
    State((health, draining)): State<(Health, CancellationToken)>,
) -> (StatusCode, Json<HealthResponse>) {
    let mut reasons = health.reasons();
    if draining.is_cancelled() {
        reasons.insert(0, "shutting down".to_owned());
    }
    if reasons.is_empty() {
        (StatusCode::OK, HealthResponse::of("ok", health.notes()))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, HealthResponse::of(&reasons.join("; "), health.notes()))
    }
}

/// The metrics, for programs on this machine. Others use `METRICS_ADDR`.
async fn metrics(
    State(exposition): State<Exposition>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Parts,
) -> Response {
    if !is_local_request(peer.ip(), &request) {
        return StatusCode::NOT_FOUND.into_response();
    }
    ([(CONTENT_TYPE, Exposition::CONTENT_TYPE)], exposition.body()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_becomes_ready_does_not_hide_the_reason_of_another() {
        let mut health = Health::default();
        let consumer = health.register("consumer", Readiness::starting());
        let isolator = health.register("poison-isolator", Readiness::ready());
        assert_eq!(health.reasons(), ["consumer: not consuming yet"]);
        isolator.set_not_ready("not consuming");
        consumer.set_ready();
        assert_eq!(health.reasons(), ["poison-isolator: not consuming"]);
        isolator.set_ready();
        assert!(health.reasons().is_empty());
    }

    #[test]
    fn a_check_fails_if_one_of_the_parts_with_its_name_does() {
        let mut health = Health::default();
        let first = health.register("settlement", Readiness::ready());
        health.register("settlement", Readiness::ready());
        let mut registry = MetricsRegistry::unexported();
        health.export(&mut registry);
        assert_eq!(health.checks(), BTreeMap::from([("broker", true), ("settlement", true)]));
        first.set_not_ready("test");
        let rendered = registry.finish().render();
        for line in
            ["hamro_worker_ready{check=\"settlement\"} 0.0", "hamro_worker_ready{check=\"broker\"} 1.0"]
        {
            assert!(rendered.contains(line), "{rendered}");
        }
    }

    #[test]
    fn dropping_the_busy_guard_clears_the_not_ready_reason() {
        let mut health = Health::default();
        let executor = health.register("settlement", Readiness::ready());
        let busy_guard = executor.busy_guard();
        executor.set_not_ready("the database cannot be reached");
        assert_eq!(health.reasons().len(), 1);
        drop(busy_guard);
        assert!(health.reasons().is_empty());
    }

    #[test]
    fn a_part_that_is_busy_for_too_long_is_not_ready() {
        let executor = Readiness::ready();
        let busy_guard = executor.busy_guard();
        assert_eq!(executor.reason(), None);
        let later = Instant::now() + SLOW_AFTER + Duration::from_secs(1);
        assert!(executor.reason_at(later).is_some());
        drop(busy_guard);
        assert_eq!(executor.reason_at(later), None);
    }

    #[test]
    fn a_temporary_reason_expires() {
        let readiness = Readiness::ready();
        readiness.set_not_ready_for(SLOW_AFTER, "test");
        assert!(readiness.reason().is_some());
        assert_eq!(readiness.reason_at(Instant::now() + SLOW_AFTER), None);
    }
}
