//! Whether this worker works, for orchestrators: `/health/live` and `/health/ready` on `WORKER_HTTP_PORT`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use hamro_shared::config::Env;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

/// How long a note stands after it was last made.
const NOTE_STANDS: Duration = Duration::from_mins(1);

/// Where to answer health checks, if at all.
#[derive(Clone, Copy, Debug)]
pub struct HealthConfig {
    pub address: Option<SocketAddr>,
}

impl HealthConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let host = env.or("HOST", localhost, "the address to listen on, such as 127.0.0.1 or ::");
        let port = env.optional("WORKER_HTTP_PORT", "a TCP port such as 3001", str::parse::<u16>);
        let (host, port) = (host?, port?);
        Some(Self { address: port.map(|port| SocketAddr::new(host, port)) })
    }
}

/// A batch is settled within seconds. What takes longer than this waits for something.
const LONG: Duration = Duration::from_secs(10);

/// What one part of the worker says of itself: why it does not work, or nothing, if it does. A part sets its own reason
/// and clears it; the others' are not its business.
#[derive(Clone)]
pub struct Readiness(Arc<Mutex<Statement>>);

struct Statement {
    reason: Option<Reason>,
    busy_since: Option<Instant>,
    note: Option<(&'static str, Instant)>,
}

#[derive(Clone, Copy)]
struct Reason {
    text: &'static str,
    /// It stands until then, or until it is cleared.
    until: Option<Instant>,
}

impl Readiness {
    /// A part that has yet to start.
    pub fn starting() -> Self {
        Self::saying(Some("it does not consume yet"))
    }

    /// A part that nobody misses before it has something to say.
    pub fn ready() -> Self {
        Self::saying(None)
    }

    fn saying(reason: Option<&'static str>) -> Self {
        let reason = reason.map(|text| Reason { text, until: None });
        Self(Arc::new(Mutex::new(Statement { reason, busy_since: None, note: None })))
    }

    fn state(&self) -> MutexGuard<'_, Statement> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why this part does not work, if it does not.
    pub fn reason(&self) -> Option<&'static str> {
        self.reason_at(Instant::now())
    }

    fn reason_at(&self, now: Instant) -> Option<&'static str> {
        let state = self.state();
        let stands = |reason: &Reason| reason.until.is_none_or(|until| now < until);
        let is_slow = state.busy_since.is_some_and(|since| now.duration_since(since) > LONG);
        state
            .reason
            .filter(stands)
            .map(|reason| reason.text)
            .or(is_slow.then_some("a batch has been in hand for more than ten seconds"))
    }

    pub fn set_not_ready(&self, reason: &'static str) {
        self.state().reason = Some(Reason { text: reason, until: None });
    }

    /// The same, for as long as that at most.
    pub fn set_not_ready_for(&self, duration: Duration, reason: &'static str) {
        self.state().reason = Some(Reason { text: reason, until: Some(Instant::now() + duration) });
    }

    pub fn set_ready(&self) {
        self.state().reason = None;
    }

    /// Says something that operators should know of although the part works. It stands for a minute.
    pub fn note(&self, note: &'static str) {
        self.state().note = Some((note, Instant::now()));
    }

    /// The latest note, while it stands.
    fn latest_note(&self) -> Option<&'static str> {
        self.state().note.filter(|(_, made)| made.elapsed() < NOTE_STANDS).map(|(note, _)| note)
    }

    /// While the guard lives, the part has something in hand. Once it has not, however that ends, it has no reason either.
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

/// What all parts of the worker say. It is ready if none has a reason against it.
#[derive(Clone, Default)]
pub struct Health(Vec<(&'static str, Readiness)>);

#[derive(Serialize)]
struct Answer {
    status: String,
    /// What operators should know of although it does not make the worker unready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

impl Answer {
    fn of(status: &str, notes: Vec<String>) -> Json<Self> {
        Json(Self { status: status.to_owned(), notes })
    }
}

impl Health {
    /// Listens to one more part. Returns what that part is to speak through.
    pub fn register(&mut self, name: &'static str, readiness: Readiness) -> Readiness {
        self.0.push((name, readiness.clone()));
        readiness
    }

    /// Everything that speaks against this worker, by part.
    fn reasons(&self) -> Vec<String> {
        self.all(Readiness::reason)
    }

    /// What operators should know of besides, by part.
    fn notes(&self) -> Vec<String> {
        self.all(Readiness::latest_note)
    }

    fn all(&self, said: fn(&Readiness) -> Option<&'static str>) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|(name, readiness)| said(readiness).map(|said| format!("{name}: {said}")))
            .collect()
    }

    /// Answers whoever asks on `address`.
    pub async fn serve(self, address: SocketAddr, stop: CancellationToken) -> anyhow::Result<()> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("cannot listen on {address}: set HOST and WORKER_HTTP_PORT to an address that is free")
        })?;
        info!("answering health checks on http://{}", listener.local_addr()?);
        let router = Router::new()
            .route("/health/live", get(async || Answer::of("ok", Vec::new())))
            .route("/health/ready", get(ready))
            .with_state(self);
        axum::serve(listener, router)
            .with_graceful_shutdown(stop.cancelled_owned())
            .await
            .context("serving HTTP")
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, Json<Answer>) {
    let reasons = health.reasons();
    if reasons.is_empty() {
        (StatusCode::OK, Answer::of("ok", health.notes()))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Answer::of(&reasons.join("; "), health.notes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_turns_green_does_not_hide_what_troubles_another() {
        let mut health = Health::default();
        let consumer = health.register("consumer", Readiness::starting());
        let isolator = health.register("reaper", Readiness::ready());
        assert_eq!(health.reasons(), ["consumer: it does not consume yet"]);
        isolator.set_not_ready("it does not consume");
        consumer.set_ready();
        assert_eq!(health.reasons(), ["reaper: it does not consume"]);
        isolator.set_ready();
        assert!(health.reasons().is_empty());
    }

    #[test]
    fn a_part_that_puts_down_what_it_had_in_hand_takes_its_reason_with_it() {
        let mut health = Health::default();
        let executor = health.register("settler", Readiness::ready());
        let busy_guard = executor.busy_guard();
        executor.set_not_ready("the database cannot be reached");
        assert_eq!(health.reasons().len(), 1);
        drop(busy_guard);
        assert!(health.reasons().is_empty());
    }

    #[test]
    fn a_part_that_has_something_in_hand_for_too_long_says_so() {
        let executor = Readiness::ready();
        let busy_guard = executor.busy_guard();
        assert_eq!(executor.reason(), None);
        let later = Instant::now() + LONG + Duration::from_secs(1);
        assert!(executor.reason_at(later).is_some());
        drop(busy_guard);
        assert_eq!(executor.reason_at(later), None);
    }

    #[test]
    fn a_reason_that_was_given_for_a_time_stands_no_longer() {
        let register = Readiness::ready();
        register.set_not_ready_for(LONG, "as the test has it");
        assert!(register.reason().is_some());
        assert_eq!(register.reason_at(Instant::now() + LONG), None);
    }
}
