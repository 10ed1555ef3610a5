//! Knows whether what was read is still current: one check of the versions at a time, for all requests.
//!
//! A check runs only if somebody asks, and at most every quarter of a second. Requests are served by the last check as long
//! as it is less than a second old; the next one runs meanwhile. Otherwise they wait for it. A check that fails says that
//! Postgres is away.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hamro_shared::database::Database;
use tokio::sync::watch;
use tokio::task::spawn;
use tokio::time::timeout;
use tracing::{info, warn};

use super::key::Part;
use super::known::{Before, CHECK_EVERY, CurrentVersion, Failed, Known};
use super::metrics::CacheMetrics;
use super::versions;
use crate::boot_clock::BootInstant;
use crate::http::own_writes::OwnWrites;
use crate::http::problem::{Problem, ProblemCode};

/// A check that began longer ago proves nothing while Postgres answers.
const CURRENT_FOR: Duration = Duration::from_secs(1);

/// A check that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// A check that takes longer is repeated with another session: the connection may have died since it was last used.
const REPEAT_AFTER: Duration = Duration::from_secs(1);

/// How long a request waits for a check after the one before has failed: for long enough to find Postgres back, not as long
/// as one that does not respond may take.
const WAIT_WHILE_AWAY: Duration = Duration::from_millis(300);

/// Clones share what they know.
#[derive(Clone)]
pub struct Freshness(Arc<Inner>);

struct Inner {
    database: Database,
    own_writes: OwnWrites,
    /// Counts the announcements of sales and releases.
    sales: AtomicU64,
    metrics: CacheMetrics,
    known: RwLock<Known>,
    /// When each part was last asked for, in milliseconds since the machine started.
    asked: [AtomicU64; Part::ALL.len()],
    is_checking: AtomicBool,
    /// Changes when a check has ended.
    ended: watch::Sender<()>,
}

impl Freshness {
    pub fn new(database: Database, own_writes: OwnWrites, metrics: CacheMetrics) -> Self {
        Self(Arc::new(Inner {
            database,
            own_writes,
            sales: AtomicU64::new(0),
            metrics,
            known: RwLock::default(),
            asked: Default::default(),
            is_checking: AtomicBool::new(false),
            ended: watch::Sender::new(()),
        }))
    }

    pub fn own_writes(&self) -> &OwnWrites {
        &self.0.own_writes
    }

    /// Notes that seats were sold or released.
    pub fn note_sales(&self) {
        self.0.sales.fetch_add(1, Ordering::AcqRel);
    }

    /// When the last successful check of any part began.
    pub fn last_checked(&self) -> Option<BootInstant> {
        let known = self.known();
        known.parts.iter().filter(|part| part.number > 0).map(|part| part.checked_at).max()
    }

    /// The current version of the part. Waits for a check if the last one proves nothing any more.
    pub async fn current_version(&self, part: Part) -> CurrentVersion {
        let now = BootInstant::now();
        // Of later ones the request need not know: it would never end while they come faster than checks.
        let own_writes = self.0.own_writes.count();
        self.ask(part, now);
        if let Some(current) = self.recently_checked(part, own_writes, now) {
            return current;
        }
        // Checks that began before a write of this instance prove nothing, so it may take two.
        let wait = if self.is_failing() { WAIT_WHILE_AWAY } else { CHECK_TIMEOUT * 2 };
        let waiting = async {
            loop {
                let mut ended = self.0.ended.subscribe();
                self.ask(part, BootInstant::now());
                self.check_in_background();
                // The sender is not dropped as long as `self` exists.
                let _ = ended.changed().await;
                let now = BootInstant::now();
                if let Some(current) = self.recently_checked(part, own_writes, now) {
                    return current;
                }
                if self.is_failing() {
                    return self.known().current_version(part, true);
                }
            }
        };
        match timeout(wait, waiting).await {
            Ok(current) => current,
            Err(_) => self.known().current_version(part, true),
        }
    }

    /// What the last check has found, if that is recent enough and began after so many writes of this instance. Starts the next
    /// check when it is time.
    fn recently_checked(&self, part: Part, own_writes: u64, now: BootInstant) -> Option<CurrentVersion> {
        let sales = self.0.sales.load(Ordering::Acquire);
        let known = self.known();
        let state = &known.parts[part.index()];
        let is_sold_since =
            matches!(part, Part::Tiers | Part::Pages) && state.sales != sales && known.may_check_early(now);
        if state.number == 0 || state.own_writes < own_writes || is_sold_since {
            return None;
        }
        let age = now.since(state.checked_at);
        if age < known.pause() {
            return Some(known.current_version(part, false));
        }
        if age >= CURRENT_FOR {
            return None;
        }
        let current = known.current_version(part, false);
        drop(known);
        self.check_in_background();
        Some(current)
    }

    /// Starts a check, unless one is running or has just failed.
    fn check_in_background(&self) {
        if self.0.is_checking.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = RunningCheck(self.clone());
        let just_failed = |failed: &Failed| BootInstant::now().since(failed.at) < CHECK_EVERY;
        if self.known().failed.as_ref().is_some_and(just_failed) {
            return;
        }
        // In its own task: the client of the request that began it may disconnect.
        spawn(async move {
            running.0.check().await;
            drop(running);
        });
    }

    async fn check(&self) {
        let before = Before {
            at: BootInstant::now(),
            own_writes: self.0.own_writes.count(),
            sales: self.0.sales.load(Ordering::Acquire),
        };
        self.known_mut().on_begin(before.at);
        let parts = Part::ALL.map(|part| self.is_asked(part, before.at));
        let read = || self.0.database.query(move |connection| Box::pin(versions::read(connection, parts)));
        let reading = async {
            match timeout(REPEAT_AFTER, read()).await {
                Ok(result) => result,
                Err(_) => read().await,
            }
        };
        match timeout(CHECK_TIMEOUT, reading).await {
            Ok(Ok(versions)) => {
                self.0.metrics.checks.inc();
                if self.known_mut().on_success(&versions, &before, BootInstant::now()) {
                    info!("the catalogue can be read again");
                }
            }
            Ok(Err(error)) => self.on_failure(&error.to_string(), error.into()),
            Err(_) => {
                let cause = format!("no response within {CHECK_TIMEOUT:?}");
                self.on_failure(&cause, Problem::of(ProblemCode::DatabaseUnavailable));
            }
        }
    }

    /// One line for each outage.
    fn on_failure(&self, cause: &str, problem: Problem) {
        self.0.metrics.failed_checks.inc();
        let failed = Failed { at: BootInstant::now(), problem };
        if self.known_mut().failed.replace(failed).is_none() {
            warn!("cannot read the catalogue, so what is known of it is served for up to a minute: {cause}");
        }
    }

    /// Why nothing can be served.
    pub fn failure(&self) -> Problem {
        let problem = self.known().failed.as_ref().map(|failed| failed.problem.clone());
        problem.unwrap_or_else(|| Problem::of(ProblemCode::DatabaseUnavailable)).retry_after(2)
    }

    /// Notes that the part is asked for. Not each time, because all threads share the note.
    fn ask(&self, part: Part, now: BootInstant) {
        let (asked, now) = (&self.0.asked[part.index()], now.as_millis());
        if now.saturating_sub(asked.load(Ordering::Relaxed)) >= 100 {
            asked.store(now, Ordering::Relaxed);
        }
    }

    /// Whether the part was asked for since the last check, or will be soon.
    fn is_asked(&self, part: Part, now: BootInstant) -> bool {
        let asked = self.0.asked[part.index()].load(Ordering::Relaxed);
        now.as_millis().saturating_sub(asked) < 1_000
    }

    fn is_failing(&self) -> bool {
        self.known().failed.is_some()
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A check that runs. Ends when this is dropped, also by a panic.
struct RunningCheck(Freshness);

impl Drop for RunningCheck {
    fn drop(&mut self) {
        self.0.0.is_checking.store(false, Ordering::Release);
        self.0.0.ended.send_replace(());
    }
}
