//! Opens a database session: connects, applies the settings, and refuses a server that cannot be used.
//!
//! The settings are applied by a statement. As start-up parameters, PgBouncer would refuse or ignore them.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Error, Row};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::errors::{OpenError, unavailable};
use super::tls::explained;

/// How long opening a session may take, with all servers that are tried.
pub(super) const OPEN_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the second session of [`refuse_shared_sessions`] may take. A pooler that gives each client its own session may
/// have none to give. On a busy machine a session takes more than a second.
const SECOND_SESSION_TIMEOUT: Duration = Duration::from_secs(2);

/// Which session of which server a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub pid: i32,
    server_start: String,
}

impl Backend {
    /// Asks by a simple query, which needs no prepared statement.
    async fn of(connection: &mut PgConnection) -> Result<Self, Error> {
        let query = "SELECT pg_backend_pid(), pg_postmaster_start_time()::text";
        let row = sqlx::raw_sql(query).fetch_one(connection).await?;
        Ok(Self { pid: row.try_get(0)?, server_start: row.try_get(1)? })
    }

    /// Whether both sessions lead to the same running server.
    pub fn is_on_same_server(&self, other: &Self) -> bool {
        self.server_start == other.server_start
    }
}

/// Connects, and logs in on a thread of its own.
///
/// While sqlx computes the 4096 rounds of a login's hash, it gives way to other tasks after every five. On a runtime that
/// is busy, each of these 800 pauses takes as long as all tasks that are ready, and a login takes seconds. A process that
/// loses its sessions during a rush could then open none in time until the rush is over.
///
/// `until`: a thread does not stop when its result is no longer awaited.
pub(super) async fn connect(
    options: &PgConnectOptions,
    until: Instant,
) -> Result<(PgConnection, Backend), Error> {
    let (runtime, login) = (Handle::current(), options.clone());
    let connecting = move || runtime.block_on(timeout_at(until, login.connect()));
    let connected = spawn_blocking(connecting).await.map_err(|_| Error::WorkerCrashed)?;
    let connected = connected.unwrap_or_else(|_| Err(unavailable("opening a session timed out")));
    let mut connection = connected.map_err(|error| explained(error, options))?;
    let backend = Backend::of(&mut connection).await?;
    Ok((connection, backend))
}

/// Fails if a pooler lends the sessions of the server to its clients for one transaction or statement at a time. Settings
/// and locks of a session would then belong to whichever client comes next.
///
/// Two sessions that are open at once are two backends, and each stays the same. A pooler that shares backends gives the
/// one that was returned last to the next client, or another one in turn: the order first, second, second, first shows
/// both.
pub(super) async fn refuse_shared_sessions(
    options: &PgConnectOptions,
    first: &mut PgConnection,
    backend: &Backend,
) -> Result<(), Error> {
    let until = Instant::now() + SECOND_SESSION_TIMEOUT;
    let second = timeout_at(until, async {
        let (mut second, backend) = connect(options, until).await?;
        let again = Backend::of(&mut second).await?;
        Ok::<_, Error>((second, [backend, again]))
    });
    // Without a second session nothing is known, and the first one may still be used.
    let Ok(Ok((second, [other, other_again]))) = second.await else { return Ok(()) };
    let is_shared = other == *backend || other_again != other || Backend::of(first).await? != *backend;
    // Best effort: the server also notices a closed socket.
    let _ = second.close().await;
    if !is_shared {
        return Ok(());
    }
    // Alone in its message: the pooler looks at the state of the session after each one.
    let in_transaction = sqlx::raw_sql("BEGIN").execute(first).await;
    let mode = if in_transaction.is_ok() { "transaction" } else { "statement" };
    Err(OpenError::shared_sessions(mode).into())
}

/// Applies the settings. Fails if the server takes no writes.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    settings: &[(&'static str, &'static str)],
) -> Result<(), Error> {
    let (names, values): (Vec<&str>, Vec<&str>) = settings.iter().copied().unzip();
    let state = sqlx::query!(
        r#"
        SELECT current_setting('transaction_read_only')::boolean AS "is_read_only!",
               count(set_config(name, value, false)) AS "settings!"
        FROM unnest($1::text[], $2::text[]) AS setting (name, value)
        "#,
        &names as &[&str],
        &values as &[&str]
    )
    .fetch_one(connection)
    .await?;
    if state.is_read_only {
        return Err(unavailable("the database takes no writes: it is a standby, or was made read-only"));
    }
    Ok(())
}
