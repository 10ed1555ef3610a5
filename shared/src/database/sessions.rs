//! Postgres sessions: verified when they are opened, checked after idling, and discarded together after a failure.
//!
//! A server, a firewall or a pooler can make a session unusable without notice: a failover turns it read-only, or the
//! network drops it. Sessions that were opened together usually fail together. So the first failure discards all
//! sessions that were opened before it, and no other caller has to run into the same timeout.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Row};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::errors::{is_session_lost, unavailable};

/// How long opening a session may take.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

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

/// The settings that are verified: the time limits. The others depend on the kind of connection.
const LIMITS: [&str; 3] = ["idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"];

/// Opens and checks sessions. Clones share the record of failures.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    settings: Vec<(&'static str, &'static str)>,
    state: Mutex<State>,
}

struct State {
    /// Sessions that were opened up to this time are not used again.
    discarded_until: Instant,
    /// When the last warning about failed sessions was logged.
    warned_at: Option<Instant>,
    /// When and why the last attempt to open a session failed; `None` if it succeeded.
    open_failure: Option<(Instant, String)>,
}

/// A session with one user. Dropping it closes it, and the server rolls back an open transaction.
pub struct Session {
    pub connection: PgConnection,
    opened_at: Instant,
    used_at: Instant,
}

impl Sessions {
    /// Sessions with these settings, as names and values, in addition to those in `options`.
    pub fn new(options: PgConnectOptions, settings: &[(&'static str, &'static str)]) -> Self {
        let options = options.options(settings.iter().copied());
        let state = State { discarded_until: Instant::now(), warned_at: None, open_failure: None };
        Self(Arc::new(Inner { options, settings: settings.to_vec(), state: Mutex::new(state) }))
    }

    /// Opens a session. Fails unless it is writable and has the required settings.
    pub async fn open(&self) -> Result<Session, sqlx::Error> {
        if let Some((at, reason)) = &self.state().open_failure
            && at.elapsed() < RETRY_OPEN_AFTER
        {
            return Err(unavailable(reason));
        }
        let opened_at = Instant::now();
        let opened = timeout(OPEN_TIMEOUT, self.connect()).await;
        let opened = opened.unwrap_or_else(|_| Err(unavailable("opening a database session timed out")));
        let mut state = self.state();
        match opened {
            Ok(connection) => {
                state.open_failure = None;
                Ok(Session { connection, opened_at, used_at: Instant::now() })
            }
            Err(error) => {
                state.open_failure = Some((Instant::now(), error.to_string()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.0.options.connect().await?;
        let (names, wanted): (Vec<&str>, Vec<&str>) =
            self.0.settings.iter().filter(|(name, _)| LIMITS.contains(name)).copied().unzip();
        // A pooler may have ignored the settings in the startup message.
        let state = sqlx::query!(
            r#"
            SELECT current_setting('transaction_read_only')::boolean AS "is_read_only!",
                   (SELECT string_agg(name, ', ')
                    FROM unnest($1::text[], $2::text[]) AS setting (name, wanted)
                    WHERE current_setting(name)::interval <> wanted::interval) AS missing
            "#,
            &names as &[&str],
            &wanted as &[&str]
        )
        .fetch_one(&mut connection)
        .await?;
        if state.is_read_only {
            return Err(unavailable("the database takes no writes: it is a standby, or was made read-only"));
        }
        match state.missing {
            Some(missing) => Err(unavailable(&format!(
                "the database does not apply {missing}: connect to the server directly, or through a pooler that \
                 forwards settings"
            ))),
            None => Ok(connection),
        }
    }

    /// Whether the last attempt to open a session failed.
    pub fn last_open_failed(&self) -> bool {
        self.state().open_failure.is_some()
    }

    /// Whether the session can be used. One that has been idle for `check_after` must respond promptly, be writable,
    /// and not be inside a transaction.
    pub async fn check(&self, session: &mut Session, check_after: Duration) -> bool {
        if !self.is_trusted(session) {
            return false;
        }
        if session.used_at.elapsed() < check_after {
            return true;
        }
        let checked = timeout(CHECK_TIMEOUT, is_usable(&mut session.connection)).await;
        match checked.unwrap_or_else(|_| Err(unavailable("a session does not respond"))) {
            Ok(true) => {
                session.used_at = Instant::now();
                true
            }
            Ok(false) => {
                self.discard_all("a session is read-only or inside a transaction");
                false
            }
            Err(error) => {
                self.discard_all(&error.to_string());
                false
            }
        }
    }

    /// Records the result of work on the session. Returns whether the session can be used again. If the error means
    /// that it cannot, all other sessions that are open now are discarded too.
    pub fn finish_use(&self, session: &mut Session, error: Option<&sqlx::Error>) -> bool {
        match error {
            Some(error) if is_session_lost(error) => {
                self.discard_all(&error.to_string());
                false
            }
            _ => {
                session.used_at = Instant::now();
                self.is_trusted(session)
            }
        }
    }

    /// Makes all sessions that were opened up to now unusable.
    fn discard_all(&self, reason: &str) {
        let mut state = self.state();
        state.discarded_until = Instant::now();
        if state.warned_at.is_none_or(|at| at.elapsed() > WARN_AGAIN_AFTER) {
            state.warned_at = Some(Instant::now());
            warn!("discarding all open database sessions: {reason}");
        }
    }

    fn is_trusted(&self, session: &Session) -> bool {
        session.opened_at.elapsed() < MAX_AGE && session.opened_at > self.state().discarded_until
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the session is writable and not inside a transaction. In a simple query, which needs no prepared statement,
/// `now()` (the start of the transaction) equals the start of the statement only outside a transaction.
async fn is_usable(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let query =
        "SELECT now() = statement_timestamp() AND NOT current_setting('transaction_read_only')::boolean";
    sqlx::raw_sql(query).fetch_one(connection).await?.try_get(0)
}
