//! The servers of `DATABASE_URL`, and which of them a process uses.
//!
//! One server accepts writes, the others are its standbys. A session is opened on the server that worked last. If that
//! fails, all others are tried at once, so that a host that does not respond delays nothing, and of those that accept
//! writes the one on the latest timeline is used. All sessions of a process share what it knows.

use std::cmp::Reverse;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use super::errors::{OpenError, unavailable};
use super::history::History;
use super::opening::{Backend, OPEN_TIMEOUT, connect, prepare, refuse_shared_sessions};
use super::url::address;

/// How long the server that worked last may take to open a session, if there are others. The others may take the rest of
/// [`OPEN_TIMEOUT`].
const LAST_TIMEOUT: Duration = Duration::from_millis(1_400);

/// How long the other servers may still take once one can be used, so that a replaced primary is not used only because it
/// is quicker.
const COMPARE_FOR: Duration = Duration::from_millis(250);

/// The pause between reports about servers that accept writes and should not.
const REPORT_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Commits that wait for longer are blocked: a standby takes milliseconds.
const BLOCKED_AFTER: Duration = Duration::from_secs(5);

/// The servers. Clones share what is known about them.
#[derive(Clone)]
pub struct Servers {
    list: Arc<[Server]>,
    known: Arc<Known>,
}

struct Server {
    options: PgConnectOptions,
    address: String,
}

struct Known {
    state: Mutex<State>,
    /// Increases with each change to another server.
    changes: watch::Sender<u64>,
    /// For how many milliseconds the oldest commit has been waiting for a standby.
    commit_wait: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The index of the server that worked last.
    current: Option<usize>,
    /// The latest history that was used.
    history: Option<History>,
    reported_at: Option<Instant>,
}

/// What a session must have.
#[derive(Clone, Copy)]
pub(super) struct Requirements<'a> {
    pub settings: &'a [(&'static str, &'static str)],
    /// Whether to verify that no pooler shares it with other clients.
    pub must_examine_pooler: bool,
}

/// A session on one of the servers.
pub(super) struct Opened {
    pub connection: PgConnection,
    pub backend: Backend,
    pub address: String,
    /// The number of changes to another server before it was opened.
    pub change: u64,
    server: usize,
    history: Option<History>,
}

impl Servers {
    /// At least one server.
    pub(super) fn new(servers: Vec<PgConnectOptions>) -> Self {
        let known = Known {
            state: Mutex::default(),
            changes: watch::Sender::default(),
            commit_wait: AtomicU64::default(),
        };
        let server = |options| Server { address: address(&options), options };
        Self { list: servers.into_iter().map(server).collect(), known: Arc::new(known) }
    }

    /// The same servers, with `process` as the application name of sessions.
    pub(super) fn for_process(&self, process: &str) -> Self {
        let server = |server: &Server| Server {
            options: server.options.clone().application_name(process),
            address: server.address.clone(),
        };
        Self { list: self.list.iter().map(server).collect(), known: self.known.clone() }
    }

    /// The address of each server, and how to connect to it.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, &PgConnectOptions)> {
        self.list.iter().map(|server| (server.address.as_str(), &server.options))
    }

    pub(super) fn are_several(&self) -> bool {
        self.list.len() > 1
    }

    /// Opens a session on the server that accepts writes.
    pub(super) async fn open(&self, requirements: Requirements<'_>) -> Result<Opened, OpenError> {
        let (current, deadline) = (self.state().current, Instant::now() + OPEN_TIMEOUT);
        let mut failures = Vec::new();
        if let Some(server) = current {
            let until = if self.are_several() { Instant::now() + LAST_TIMEOUT } else { deadline };
            match self.open_on(server, requirements, until).await {
                Ok(opened) => return self.use_server(opened),
                Err(failure) => failures.push(failure),
            }
            let mut state = self.state();
            if state.current == current {
                state.current = None;
            }
        }
        let others = (0..self.list.len()).filter(|server| Some(*server) != current);
        let tries: FuturesUnordered<_> =
            others.map(|server| self.open_on(server, requirements, deadline)).collect();
        let (mut usable, failed) = first_results(tries, deadline).await;
        failures.extend(failed);
        usable.sort_by_key(|opened| (Reverse(opened.history.map(|history| history.timeline)), opened.server));
        let mut usable = usable.into_iter();
        let Some(opened) = usable.next() else { return Err(OpenError::of_all(failures)) };
        // One server may have two names.
        if let Some(other) = usable.find(|other| !other.backend.is_on_same_server(&opened.backend)) {
            self.report(&other.address, &format!("it accepts writes, as {} does", opened.address));
        }
        self.use_server(opened)
    }

    /// Looks for a server that has replaced the current one while that still responds, or no longer does without closing
    /// its connections. If there is one, it is used from now on, and not the sessions of the earlier one.
    pub(super) async fn look_for_newer(&self) {
        let (current, seen) = {
            let state = self.state();
            (state.current, state.history)
        };
        let Some(seen) = seen.filter(|_| self.are_several()) else { return };
        let others = (0..self.list.len()).filter(|server| Some(*server) != current);
        let requirements = Requirements { settings: &[], must_examine_pooler: false };
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let mut tries: FuturesUnordered<_> =
            others.map(|server| self.open_on(server, requirements, deadline)).collect();
        while let Some(tried) = tries.next().await {
            if let Ok(opened) = tried
                && opened.history.is_some_and(|history| history.timeline > seen.timeline)
            {
                // Fails if another task has found an even newer one.
                let _ = self.use_server(opened);
            }
        }
    }

    /// Resolves once a session that was opened at this change should no longer be used, because another server is used.
    pub(super) fn changed_since(&self, change: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.known.changes.subscribe();
        async move {
            if changes.wait_for(|now| *now != change).await.is_err() {
                pending::<()>().await;
            }
        }
    }

    pub(super) fn changes(&self) -> u64 {
        *self.known.changes.borrow()
    }

    /// Records for how long the oldest commit has been waiting for a standby.
    pub(super) fn set_commit_wait(&self, wait: Duration) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.known.commit_wait.store(millis, Ordering::Relaxed);
    }

    /// For how long the oldest commit has been waiting for a standby, as last measured.
    pub fn commit_wait(&self) -> Duration {
        Duration::from_millis(self.known.commit_wait.load(Ordering::Relaxed))
    }

    /// Whether commits wait for a standby that is not there.
    pub fn commits_are_blocked(&self) -> bool {
        self.commit_wait() > BLOCKED_AFTER
    }

    async fn open_on(
        &self,
        server: usize,
        requirements: Requirements<'_>,
        until: Instant,
    ) -> Result<Opened, OpenError> {
        let change = self.changes();
        let Server { options, address } = &self.list[server];
        let opening = async {
            let (mut connection, backend) = connect(options, until).await?;
            if requirements.must_examine_pooler {
                refuse_shared_sessions(options, &mut connection, &backend).await?;
            }
            prepare(&mut connection, requirements.settings).await?;
            let history = History::of(&mut connection).await?;
            let seen = self.state().history;
            if let Some(objection) = self.objection(history, seen) {
                self.report(address, &objection);
                return Err(unavailable(&objection));
            }
            Ok(Opened { connection, backend, address: address.clone(), change, server, history })
        };
        let opened = timeout_at(until, opening).await;
        let opened = opened.unwrap_or_else(|_| Err(unavailable("opening a session timed out")));
        opened.map_err(|error| OpenError::of(address, &error))
    }

    /// Why a server with the history `found` must not be used. The name of a single host may be given to another cluster.
    fn objection(&self, found: Option<History>, seen: Option<History>) -> Option<String> {
        let (found, seen) = (found?, seen?);
        if self.are_several() || found.system == seen.system { found.objection(seen) } else { None }
    }

    /// Records that this server is used. Sessions of another one are no longer used. Fails if another task has meanwhile
    /// used a newer one.
    fn use_server(&self, mut opened: Opened) -> Result<Opened, OpenError> {
        let mut state = self.state();
        if let Some(objection) = self.objection(opened.history, state.history) {
            return Err(OpenError::of(&opened.address, &unavailable(&objection)));
        }
        if let Some(history) = opened.history {
            let is_other = state.history.is_some_and(|seen| seen != history);
            state.history = Some(history);
            if is_other {
                self.known.changes.send_modify(|changes| *changes += 1);
                warn!("using Postgres at {}, which is on timeline {}", opened.address, history.timeline);
            }
            opened.change = self.changes();
        }
        state.current = Some(opened.server);
        Ok(opened)
    }

    fn report(&self, address: &str, reason: &str) {
        let mut state = self.state();
        if state.reported_at.is_none_or(|at| at.elapsed() > REPORT_AGAIN_AFTER) {
            state.reported_at = Some(Instant::now());
            error!("Postgres at {address} must be stopped, or seats may be sold twice: {reason}");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.known.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<PgConnectOptions> for Servers {
    fn from(server: PgConnectOptions) -> Self {
        Self::new(vec![server])
    }
}

/// Waits for all results, but not for long once one server can be used.
async fn first_results(
    mut tries: FuturesUnordered<impl Future<Output = Result<Opened, OpenError>>>,
    deadline: Instant,
) -> (Vec<Opened>, Vec<OpenError>) {
    let (mut usable, mut failures) = (Vec::new(), Vec::new());
    // Each try ends at the deadline by itself, and says then why.
    let mut until = None;
    while let Ok(Some(result)) = timeout_at(until.unwrap_or(deadline + COMPARE_FOR), tries.next()).await {
        match result {
            Ok(opened) => {
                usable.push(opened);
                until.get_or_insert(Instant::now() + COMPARE_FOR);
            }
            Err(failure) => failures.push(failure),
        }
    }
    (usable, failures)
}
