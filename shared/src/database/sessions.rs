//! Postgres sessions: verified when they are opened, checked after idling, and discarded together after a failure.
//!
//! A server, a firewall or a pooler can make a session unusable without notice: a failover turns it read-only, or the
//! network drops it. Sessions that were opened together usually fail together. So the first failure discards all
//! sessions that were opened before it, and no other caller has to run into the same timeout.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Row;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::errors::{OpenError, is_session_lost, unavailable};
use super::opening::Backend;
use super::servers::{Opened, Requirements, Servers};
use super::session_counts::{SessionCounts, SessionGuard};

/// A session that has been idle for this long should be checked before it is used.
pub const CHECK_AFTER: Duration = Duration::from_secs(1);

/// How long the check may take. A session that died silently does not respond at all.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);

/// A session is replaced at this age, so that changes of the server's settings and addresses take effect.
const MAX_AGE: Duration = Duration::from_mins(30);

/// The pause between attempts to open a session, after one has failed.
const RETRY_OPEN_AFTER: Duration = Duration::from_millis(100);

/// The pause between warnings about failed sessions: there may be many at once.
const WARN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Opens and checks sessions. Clones share the record of failures.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    servers: Servers,
    settings: Vec<(&'static str, &'static str)>,
    counts: SessionCounts,
    state: Mutex<State>,
}

struct State {
    /// Sessions that were opened up to this time are not used again.
    discarded_until: Instant,
    /// When the last warning about failed sessions was logged.
    warned_at: Option<Instant>,
    /// When and why the last attempt to open a session failed; `None` if it succeeded.
    open_failure: Option<(Instant, OpenError)>,
    /// When an open session has worked last.
    used_at: Option<Instant>,
    /// Whether a session was opened since the start of this process.
    has_worked: bool,
    /// Whether the last session that was examined is this process's alone.
    has_own_sessions: bool,
}

/// A session with one user. Dropping it closes it, and the server rolls back an open transaction.
pub struct Session {
    pub connection: PgConnection,
    backend: Backend,
    /// Of the server.
    address: String,
    /// See [`Opened::change`].
    change: u64,
    opened_at: Instant,
    used_at: Instant,
    counted: SessionGuard,
}

impl Session {
    /// Counts it as idle, although it was not used.
    pub(super) fn give_back(&mut self) {
        self.counted.set_in_use(false);
    }
}

impl Sessions {
    /// Sessions with these settings, as names and values, in addition to those in `DATABASE_URL`.
    pub fn new(servers: impl Into<Servers>, settings: &[(&'static str, &'static str)]) -> Self {
        let state = State {
            discarded_until: Instant::now(),
            warned_at: None,
            open_failure: None,
            used_at: None,
            has_worked: false,
            has_own_sessions: false,
        };
        let (servers, settings, counts) = (servers.into(), settings.to_vec(), SessionCounts::default());
        Self(Arc::new(Inner { servers, settings, counts, state: Mutex::new(state) }))
    }

    /// The servers that the sessions lead to.
    pub fn servers(&self) -> &Servers {
        &self.0.servers
    }

    /// What is counted of these sessions.
    pub fn counts(&self) -> &SessionCounts {
        &self.0.counts
    }

    /// Opens a session with the required settings. Fails unless it is writable and this process's alone.
    pub async fn open(&self) -> Result<Session, sqlx::Error> {
        if let Some((at, failure)) = &self.state().open_failure
            && at.elapsed() < RETRY_OPEN_AFTER
        {
            return Err(failure.clone().into());
        }
        let opened_at = Instant::now();
        let must_examine_pooler = !self.state().has_own_sessions;
        let requirements = Requirements { settings: &self.0.settings, must_examine_pooler };
        let opened = self.0.servers.open(requirements).await;
        let mut state = self.state();
        match opened {
            Ok(Opened { connection, backend, address, change, .. }) => {
                state.open_failure = None;
                state.has_worked = true;
                state.has_own_sessions = true;
                let (used_at, counted) = (Instant::now(), self.0.counts.open());
                Ok(Session { connection, backend, address, change, opened_at, used_at, counted })
            }
            Err(failure) => {
                self.0.counts.count_failure();
                state.open_failure = Some((Instant::now(), failure.clone()));
                Err(failure.into())
            }
        }
    }

    /// Whether a session could be opened since the start of this process.
    pub fn have_worked(&self) -> bool {
        self.state().has_worked
    }

    /// Whether the last attempt to open a session failed, and no open session has worked since.
    pub fn are_unavailable(&self) -> bool {
        let state = self.state();
        state
            .open_failure
            .as_ref()
            .is_some_and(|(failed_at, _)| state.used_at.is_none_or(|at| at < *failed_at))
    }

    /// Why the last attempt to open a session failed.
    pub fn open_failure(&self) -> Option<String> {
        self.state().open_failure.as_ref().map(|(_, failure)| failure.to_string())
    }

    /// Resolves once the session should not be used any longer, because another server has replaced its own.
    pub fn replaced(&self, session: &Session) -> impl Future<Output = ()> + Send + use<> {
        self.0.servers.changed_since(session.change)
    }

    /// Whether the session can be used. One that has been idle for `check_after` must respond promptly, be writable,
    /// and not be inside a transaction.
    pub async fn check(&self, session: &mut Session, check_after: Duration) -> bool {
        if !self.is_trusted(session) {
            return false;
        }
        if session.used_at.elapsed() < check_after {
            session.counted.set_in_use(true);
            return true;
        }
        let checked = timeout(CHECK_TIMEOUT, defect_of(session)).await;
        match checked.unwrap_or_else(|_| Err(unavailable("a session does not respond"))) {
            Ok(None) => {
                session.used_at = Instant::now();
                session.counted.set_in_use(true);
                true
            }
            Ok(Some(defect)) => {
                if defect == OTHER_BACKEND {
                    self.state().has_own_sessions = false;
                }
                self.discard_all(session, defect);
                false
            }
            Err(error) => {
                self.discard_all(session, &error.to_string());
                false
            }
        }
    }

    /// Records the result of work on the session. Returns whether the session can be used again. If the error means
    /// that it cannot, all other sessions that are open now are discarded too.
    pub fn finish_use(&self, session: &mut Session, error: Option<&sqlx::Error>) -> bool {
        session.counted.set_in_use(false);
        match error {
            Some(error) if is_session_lost(error) => {
                self.discard_all(session, &error.to_string());
                false
            }
            _ => {
                session.used_at = Instant::now();
                self.state().used_at = Some(session.used_at);
                self.is_trusted(session)
            }
        }
    }

    /// Makes all sessions that were opened up to now unusable.
    fn discard_all(&self, session: &Session, reason: &str) {
        let mut state = self.state();
        state.discarded_until = Instant::now();
        if state.warned_at.is_none_or(|at| at.elapsed() > WARN_AGAIN_AFTER) {
            state.warned_at = Some(Instant::now());
            warn!("discarding all open database sessions (Postgres at {}): {reason}", session.address);
        }
    }

    fn is_trusted(&self, session: &Session) -> bool {
        session.opened_at.elapsed() < MAX_AGE
            && session.opened_at > self.state().discarded_until
            && session.change == self.0.servers.changes()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session turned out to be another one than before.
const OTHER_BACKEND: &str =
    "a session leads to another backend than before, as behind a pooler that shares sessions";

/// Why the session cannot be used, if it cannot. In a simple query, which needs no prepared statement, `now()` (the start
/// of the transaction) equals the start of the statement only outside a transaction.
async fn defect_of(session: &mut Session) -> Result<Option<&'static str>, sqlx::Error> {
    let query = "SELECT now() = statement_timestamp() AND NOT current_setting('transaction_read_only')::boolean, \
                 pg_backend_pid()";
    let row = sqlx::raw_sql(query).fetch_one(&mut session.connection).await?;
    let (is_usable, pid): (bool, i32) = (row.try_get(0)?, row.try_get(1)?);
    if pid != session.backend.pid {
        return Ok(Some(OTHER_BACKEND));
    }
    Ok((!is_usable).then_some("a session is read-only or inside a transaction"))
}
