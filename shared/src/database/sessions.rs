//! Sessions of Postgres: opened alike, verified when they open, and trusted only as long as they work.
//!
//! A server, a firewall or a pooler can make a session useless without a word: it turns read-only in a failover, or the
//! network forgets it. Sessions that were opened together usually go together. So the first one that is found useless
//! condemns all that were opened before that moment, and nobody else has to find out by waiting.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Row};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::errors::{is_session_lost, unavailable};

/// How long a server may take to open a session.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// A session that has not been used for this long should be checked before it is used.
pub const CHECK_AFTER: Duration = Duration::from_secs(1);

/// How long the check may take. Sessions that died without a word answer nothing at all.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);

/// After this long a session is replaced, so that changes of the server's settings and addresses arrive.
const MAX_AGE: Duration = Duration::from_mins(30);

/// While a server refuses sessions, nobody asks it for one more often than this.
const OPEN_AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A server on which every session fails is not worth a line in the log for each of them.
const WARN_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The settings that must hold. Others depend on the kind of connection.
const LIMITS: [&str; 3] = ["idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"];

/// Where sessions come from. Clones share what they know about dead sessions.
#[derive(Clone)]
pub struct Sessions(Arc<Inner>);

struct Inner {
    options: PgConnectOptions,
    settings: Vec<(&'static str, &'static str)>,
    state: Mutex<State>,
}

struct State {
    /// Sessions that were opened up to this moment are not used again.
    condemned: Instant,
    /// When that was last written to the log.
    warned: Option<Instant>,
    /// The last time that no session could be opened, and why.
    refused: Option<(Instant, String)>,
}

/// A session that nobody else uses. Dropping it closes it; the server then rolls back what was not committed.
pub struct Session {
    pub connection: PgConnection,
    opened_at: Instant,
    used_at: Instant,
}

impl Sessions {
    /// Sessions with these settings, by name and value, on top of those in `options`.
    pub fn new(options: PgConnectOptions, settings: &[(&'static str, &'static str)]) -> Self {
        let options = options.options(settings.iter().copied());
        let state = State { condemned: Instant::now(), warned: None, refused: None };
        Self(Arc::new(Inner { options, settings: settings.to_vec(), state: Mutex::new(state) }))
    }

    /// A new session, on a server that takes writes, with the settings that were asked for.
    pub async fn open(&self) -> Result<Session, sqlx::Error> {
        if let Some((at, reason)) = &self.state().refused
            && at.elapsed() < OPEN_AGAIN_AFTER
        {
            return Err(unavailable(reason));
        }
        let opened_at = Instant::now();
        let opened = timeout(OPEN_TIMEOUT, self.connect()).await;
        let opened = opened.unwrap_or_else(|_| Err(unavailable("the database opens no session in time")));
        let mut state = self.state();
        match opened {
            Ok(connection) => {
                state.refused = None;
                Ok(Session { connection, opened_at, used_at: Instant::now() })
            }
            Err(error) => {
                state.refused = Some((Instant::now(), error.to_string()));
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let mut connection = self.0.options.connect().await?;
        let (names, wanted): (Vec<&str>, Vec<&str>) =
            self.0.settings.iter().filter(|(name, _)| LIMITS.contains(name)).copied().unzip();
        // A pooler may have ignored the settings of the start-up message.
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
                "the database does not apply {missing}: connect to the server itself, or to a pooler that \
                 passes settings on"
            ))),
            None => Ok(connection),
        }
    }

    /// Whether the last try to open a session has failed.
    pub fn are_refused(&self) -> bool {
        self.state().refused.is_some()
    }

    /// Whether the session can be used. One that has not been used for `checked_after` has to answer at once, take writes, and
    /// not be inside a transaction.
    pub async fn check(&self, session: &mut Session, checked_after: Duration) -> bool {
        if !self.is_trusted(session) {
            return false;
        }
        if session.used_at.elapsed() < checked_after {
            return true;
        }
        let answer = timeout(CHECK_TIMEOUT, is_good(&mut session.connection)).await;
        match answer.unwrap_or_else(|_| Err(unavailable("a session of the database does not answer"))) {
            Ok(true) => {
                session.used_at = Instant::now();
                true
            }
            Ok(false) => {
                self.condemn("a session is read-only, or inside a transaction");
                false
            }
            Err(error) => {
                self.condemn(&error.to_string());
                false
            }
        }
    }

    /// Notes how the session fared. Returns whether it can be used again.
    pub fn keeps(&self, session: &mut Session, error: Option<&sqlx::Error>) -> bool {
        match error {
            Some(error) if is_session_lost(error) => {
                self.condemn(&error.to_string());
                false
            }
            _ => {
                session.used_at = Instant::now();
                self.is_trusted(session)
            }
        }
    }

    /// No session that was opened up to now is used again.
    fn condemn(&self, reason: &str) {
        let mut state = self.state();
        state.condemned = Instant::now();
        if state.warned.is_none_or(|at| at.elapsed() > WARN_AGAIN_AFTER) {
            state.warned = Some(Instant::now());
            warn!("closing all sessions of the database that are open: {reason}");
        }
    }

    fn is_trusted(&self, session: &Session) -> bool {
        session.opened_at.elapsed() < MAX_AGE && session.opened_at > self.state().condemned
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the session takes writes and is not inside a transaction. In a simple query (which needs no prepared statement) `now`,
/// the beginning of the transaction, is the beginning of the statement only outside of one.
async fn is_good(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let question =
        "SELECT now() = statement_timestamp() AND NOT current_setting('transaction_read_only')::boolean";
    sqlx::raw_sql(question).fetch_one(connection).await?.try_get(0)
}
