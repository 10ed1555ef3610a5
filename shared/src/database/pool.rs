//! A bounded pool of sessions for request handlers. Each piece of work runs in its own task.
//!
//! hyper drops a handler's future when its client disconnects. Dropped work would leave its session inside a
//! transaction, or half open. So nothing here runs in a future that a disconnect, a timeout or a shutdown can drop:
//! work that has a session runs to its end, or to its own time limit, at which the session is closed. Work that still
//! waits for a session stops when its requester is gone.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{spawn, spawn_blocking};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::errors::{commits_are_blocked, is_session_lost, server_replaced, unavailable};
use super::opening::OPEN_TIMEOUT;
use super::servers::Servers;
use super::sessions::{CHECK_AFTER, Session, Sessions};
use crate::telemetry::metrics::MetricsRegistry;

/// How long work may wait for a session before it fails.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// How many pieces of work may wait for a session. Any more fail at once.
const WAITING_MAX: usize = 1_000;

/// How long one attempt of a query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a transaction may take: it has a few statements, each of them limited by the server.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(30);

/// A bounded number of sessions, shared by all clones.
#[derive(Clone)]
pub struct Database(Arc<Pool>);

struct Pool {
    sessions: Sessions,
    size: NonZeroU16,
    /// Unused sessions. The most recently used one is taken first.
    idle: Mutex<Vec<Session>>,
    /// One permit per session that may be open.
    slots: Semaphore,
    waiting: Arc<Semaphore>,
}

/// Where a piece of work runs.
#[derive(Clone, Copy)]
enum Threads {
    /// On the runtime's worker threads.
    Runtime,
    /// On its own thread: a result that takes long to decode would hold up other tasks.
    Blocking,
}

/// A piece of work on a session.
pub type Work<'c, T> = BoxFuture<'c, Result<T, sqlx::Error>>;

impl Database {
    /// The longest that a query can take: the wait for a session and two attempts, each on a new session.
    pub const LONGEST_QUERY: Duration =
        WAIT_MAX.saturating_add(OPEN_TIMEOUT.saturating_add(QUERY_TIMEOUT).saturating_mul(2));

    /// A pool of at most `size` sessions, which are opened on demand.
    pub fn new(sessions: Sessions, size: NonZeroU16) -> Self {
        Self(Arc::new(Pool {
            sessions,
            size,
            idle: Mutex::default(),
            slots: Semaphore::new(size.get().into()),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        }))
    }

    /// Exports how many sessions are open and used, and how long work waits for one.
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        self.0.sessions.counts().register(registry, self.0.size.get());
    }

    /// How many sessions are in use, and how many may be.
    pub fn sessions_in_use(&self) -> (u64, u16) {
        (self.0.sessions.counts().in_use(), self.0.size.get())
    }

    /// Whether the last attempt to open a session failed, and no open session has worked since.
    pub fn is_unavailable(&self) -> bool {
        self.0.sessions.are_unavailable()
    }

    /// Why the last attempt to open a session failed.
    pub fn open_failure(&self) -> Option<String> {
        self.0.sessions.open_failure()
    }

    /// The servers that the sessions lead to.
    pub fn servers(&self) -> &Servers {
        self.0.sessions.servers()
    }

    /// Runs `work` as [`Self::query`] does, unless commits are blocked: it writes, and each try would occupy a session of
    /// the server until they no longer are.
    pub async fn write<T, W>(&self, work: W) -> Result<T, sqlx::Error>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut PgConnection) -> Work<'c, T> + Send + Sync + 'static,
    {
        self.check_commits()?;
        self.query(work).await
    }

    fn check_commits(&self) -> Result<(), sqlx::Error> {
        if self.servers().commits_are_blocked() { Err(commits_are_blocked()) } else { Ok(()) }
    }

    /// Runs `work`, which must be idempotent. If its session turns out to be unusable, `work` runs once more, on
    /// another session.
    pub async fn query<T, W>(&self, work: W) -> Result<T, sqlx::Error>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut PgConnection) -> Work<'c, T> + Send + Sync + 'static,
    {
        self.query_on(Threads::Runtime, work).await
    }

    /// Runs `work` as [`Self::query`] does, but on a blocking thread: for work that reads thousands of rows.
    pub async fn query_large<T, W>(&self, work: W) -> Result<T, sqlx::Error>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut PgConnection) -> Work<'c, T> + Send + Sync + 'static,
    {
        self.query_on(Threads::Blocking, work).await
    }

    async fn query_on<T, W>(&self, threads: Threads, work: W) -> Result<T, sqlx::Error>
    where
        T: Send + 'static,
        W: for<'c> Fn(&'c mut PgConnection) -> Work<'c, T> + Send + Sync + 'static,
    {
        self.detach(threads, move |pool, requester| async move {
            let first = pool.query(&work, &requester, requester.since).await;
            match first {
                Err(error) if is_session_lost(&error) => pool.query(&work, &requester, Instant::now()).await,
                first => first,
            }
        })
        .await
    }

    /// Runs `work` in a transaction, and commits it if `work` succeeds, or rolls it back. After a connection error,
    /// either may have happened.
    pub async fn transaction<T, W>(&self, work: W) -> Result<T, sqlx::Error>
    where
        T: Send + 'static,
        W: for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T> + Send + 'static,
    {
        self.check_commits()?;
        self.detach(Threads::Runtime, move |pool, requester| async move {
            pool.transaction(work, &requester).await
        })
        .await
    }

    /// Runs `work` in its own task once a session may be used, unless the caller is gone by then.
    async fn detach<T, F>(
        &self,
        threads: Threads,
        work: impl FnOnce(Arc<Pool>, Requester) -> F + Send + 'static,
    ) -> Result<T, sqlx::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, sqlx::Error>> + Send,
    {
        let waiting_permit =
            self.0.waiting.clone().try_acquire_owned().map_err(|_| sqlx::Error::PoolTimedOut)?;
        let (reply, result) = oneshot::channel();
        let requester = Requester { gone: CancellationToken::new(), since: Instant::now() };
        let _cancel_when_dropped = requester.gone.clone().drop_guard();
        let pool = self.0.clone();
        let task = async move {
            let slot = tokio::select! {
                slot = timeout(WAIT_MAX, pool.slots.acquire()) => slot,
                () = requester.gone.cancelled() => return,
            };
            drop(waiting_permit);
            let result = match slot {
                Ok(Ok(_slot)) => work(pool.clone(), requester).await,
                Ok(Err(_)) | Err(_) => {
                    pool.sessions.counts().observe_wait(requester.since.elapsed());
                    Err(sqlx::Error::PoolTimedOut)
                }
            };
            // Fails if the requester is gone.
            let _ = reply.send(result);
        };
        match threads {
            Threads::Runtime => drop(spawn(task)),
            Threads::Blocking => drop(spawn_blocking(move || Handle::current().block_on(task))),
        }
        // A panic drops `reply`, and closes the session.
        result.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }
}

/// Who waits for a result.
struct Requester {
    /// Cancelled once the requester no longer waits.
    gone: CancellationToken,
    since: Instant,
}

impl Requester {
    fn check_present(&self) -> Result<(), sqlx::Error> {
        if self.gone.is_cancelled() { Err(sqlx::Error::PoolClosed) } else { Ok(()) }
    }
}

impl Pool {
    async fn query<T>(
        &self,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T>,
        requester: &Requester,
        since: Instant,
    ) -> Result<T, sqlx::Error> {
        let session = self.take(CHECK_AFTER, since).await?;
        self.run(session, QUERY_TIMEOUT, requester, work).await
    }

    async fn transaction<T: Send + 'static>(
        &self,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T> + Send + 'static,
        requester: &Requester,
    ) -> Result<T, sqlx::Error> {
        // A transaction is not retried, so its session is always checked first.
        let session = self.take(Duration::ZERO, requester.since).await?;
        self.run(session, TRANSACTION_TIMEOUT, requester, |connection| {
            Box::pin(async move {
                let mut transaction = connection.begin().await?;
                match work(&mut transaction).await {
                    Ok(value) => transaction.commit().await.map(|()| value),
                    Err(error) => {
                        transaction.rollback().await?;
                        Err(error)
                    }
                }
            })
        })
        .await
    }

    /// A session for work that has waited since then.
    async fn take(&self, check_after: Duration, since: Instant) -> Result<Session, sqlx::Error> {
        let taken = self.take_idle_or_new(check_after).await;
        self.sessions.counts().observe_wait(since.elapsed());
        taken
    }

    /// An idle session, checked first if it has been idle for `check_after`, or else a new one.
    async fn take_idle_or_new(&self, check_after: Duration) -> Result<Session, sqlx::Error> {
        loop {
            let Some(mut session) = self.idle().pop() else { return self.sessions.open().await };
            if self.sessions.check(&mut session, check_after).await {
                return Ok(session);
            }
        }
    }

    /// Runs `work` to its end, or closes its session when the time is up.
    async fn run<T>(
        &self,
        mut session: Session,
        limit: Duration,
        requester: &Requester,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> Work<'c, T>,
    ) -> Result<T, sqlx::Error> {
        let result = match requester.check_present() {
            Ok(()) => {
                let replaced = self.sessions.replaced(&session);
                tokio::select! {
                    biased;
                    result = timeout(limit, work(&mut session.connection)) => {
                        result.unwrap_or_else(|_| Err(unavailable("the database did not respond in time")))
                    }
                    () = replaced => Err(server_replaced()),
                }
            }
            Err(gone) => {
                // It has not been used, so its age and its time of use stay.
                session.give_back();
                self.idle().push(session);
                return Err(gone);
            }
        };
        if self.sessions.finish_use(&mut session, result.as_ref().err()) {
            self.idle().push(session);
        }
        result
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
