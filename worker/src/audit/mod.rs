//! The auditor: compares seats, sales, bookings and counters in the background, so that a seat that was sold twice is found
//! within minutes, and not at the door.
//!
//! The database and settlement exclude what it looks for. The auditor does not rely on them: it reads the tables. One worker
//! of an installation audits at a time, the one whose session holds an advisory lock. If it dies, another takes the lock and
//! goes on where it was.
//!
//! It goes through the tables in ranges of their keys ([`Range`]), each in one snapshot that locks no row, slowly enough that
//! bookings do not notice. In a rush it waits, but checks a range now and then ([`rush`]). What it finds counts once a
//! second look, in a later snapshot, has confirmed it. docs/RUNBOOK.md says what to do about a finding.

pub mod config;
pub mod observed;
mod progress;
mod report;
mod rush;

use std::future::pending;
use std::io;
use std::time::Duration;

use hamro_shared::audit::{self, Finding, ROWS, Range, expected_rows};
use hamro_shared::backoff::Backoff;
use hamro_shared::database::{CHECK_AFTER, DatabaseClock, Session, Sessions, wait_until_database_usable};
use hamro_shared::domain::Clock;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::progress::Progress;
use self::report::report;
use self::rush::Rush;
use crate::pipeline::workload::Workload;

/// Identifies the advisory lock: "audit" in ASCII.
const LOCK: i64 = 0x61_7564_6974;
/// How often a worker that does not audit tries to take the lock.
const LOCK_EVERY: Duration = Duration::from_secs(2);
/// The time between the starts of two ranges is between these bounds, and so that a pass takes `AUDIT_EVERY` at most.
const PACE_MIN: Duration = Duration::from_millis(50);
const PACE_MAX: Duration = Duration::from_millis(250);
/// Between passes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The auditor rests four times as long as it has worked, up to a bound.
const REST: u32 = 4;
const REST_MAX: Duration = Duration::from_secs(1);
/// In a rush, the time between two ranges.
const PACE_IN_A_RUSH: Duration = Duration::from_secs(30);
/// The time until a finding is looked at again.
const CONFIRM_AFTER: Duration = Duration::from_secs(1);
/// How often to store the progress, unless there is something new to report.
const SAVE_EVERY: Duration = Duration::from_secs(2);
/// The server's own limits are shorter.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);
/// The SQLSTATE of `statement_timeout`.
const QUERY_CANCELED: &str = "57014";

/// Session settings of the auditor. Plans use indexes whatever the statistics say, and no statement takes much. The server
/// ends the session of a worker that is frozen, so that another takes over.
pub const SESSION_SETTINGS: &[(&str, &str)] = &[
    ("statement_timeout", "5s"),
    ("lock_timeout", "1s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("idle_session_timeout", "60s"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("work_mem", "4MB"),
    // A report that is lost in a crash of the server is written again.
    ("synchronous_commit", "off"),
    ("tcp_keepalives_idle", "5"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "3"),
    ("tcp_user_timeout", "20s"),
];

pub struct Auditor {
    sessions: Sessions,
    database_clock: DatabaseClock,
    clock: Clock,
    /// How long a pass may take.
    every: Duration,
    rush: Rush,
    progress: Progress,
    /// When the last range was checked.
    checked_at: Option<Instant>,
    saved: Option<(Progress, Instant)>,
}

impl Auditor {
    /// `sessions` have the [`SESSION_SETTINGS`]; `workload` is that of this worker.
    pub fn new(
        sessions: Sessions,
        database_clock: &DatabaseClock,
        workload: Workload,
        every: Duration,
    ) -> Self {
        Self {
            sessions,
            clock: database_clock.clock(),
            database_clock: database_clock.clone(),
            every,
            rush: Rush::new(workload),
            progress: Progress::default(),
            checked_at: None,
            saved: None,
        }
    }

    /// Audits until `stop`.
    pub async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let usable = wait_until_database_usable(&self.sessions, &self.database_clock);
        match stop.run_until_cancelled(usable).await {
            Some(usable) => usable?,
            None => return Ok(()),
        }
        stop.run_until_cancelled(self.audit()).await;
        Ok(())
    }

    /// Audits on one session after another.
    async fn audit(&mut self) {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        loop {
            match self.audit_on_a_session().await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    warn!("audit: interrupted: {error}");
                    backoff.pause().await;
                }
            }
        }
    }

    /// Audits until the session should be replaced.
    async fn audit_on_a_session(&mut self) -> Result<(), sqlx::Error> {
        let mut session = self.sessions.open().await?;
        while !within_limit(try_lock(&mut session.connection)).await? {
            pause(LOCK_EVERY).await;
            if !self.is_usable(&mut session).await {
                return Ok(());
            }
        }
        info!("auditing seats and sales, once every {:?}", self.every);
        let stored = within_limit(audit::progress(&mut session.connection)).await?;
        self.progress = stored.and_then(|stored| serde_json::from_value(stored).ok()).unwrap_or_default();
        while self.is_usable(&mut session).await {
            let rest = self.step(&mut session.connection).await?;
            pause(rest).await;
        }
        Ok(())
    }

    async fn is_usable(&self, session: &mut Session) -> bool {
        self.sessions.check(session, CHECK_AFTER).await
    }

    /// Checks the next range, if it is time. Returns how long to rest.
    async fn step(&mut self, connection: &mut PgConnection) -> Result<Duration, sqlx::Error> {
        let started = Instant::now();
        if self.progress.is_due(self.clock.now(), self.every) {
            let rows = within_limit(expected_rows(connection)).await?;
            self.progress.start(self.clock.now(), rows);
        }
        let is_running = self.progress.position().is_some();
        let is_rush = is_running && within_limit(self.rush.is_on(connection)).await?;
        let may_go_on = !is_rush || self.checked_at.is_none_or(|at| at.elapsed() >= PACE_IN_A_RUSH);
        let is_news = self.progress.set_paused(is_rush);
        let has_found = if may_go_on { self.check_next_range(connection).await? } else { false };
        if is_news || has_found || self.should_save() {
            self.save(connection).await?;
        }
        Ok(self.pace().max((started.elapsed() * REST).min(REST_MAX)))
    }

    /// Returns whether there is something to report at once.
    async fn check_next_range(&mut self, connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let Some(position) = self.progress.position() else { return Ok(false) };
        let range = within_limit(Range::after(connection, position)).await?;
        let checked = confirmed_findings(connection, &range).await;
        self.checked_at = Some(Instant::now());
        let findings = match checked {
            Ok(findings) => findings,
            Err(error) if is_timeout(&error) => {
                let is_skipped = self.progress.failed(&range, self.clock.now());
                let what = if is_skipped { "skipping it in this pass" } else { "trying again" };
                warn!("audit: {} rows after {position:?} take too long; {what}: {error}", range.rows);
                return Ok(is_skipped);
            }
            Err(error) => return Err(error),
        };
        debug!("audit: checked {} rows after {position:?}", range.rows);
        report(&findings);
        self.progress.checked(&range, &findings, self.clock.now());
        Ok(!findings.is_empty() || self.progress.position().is_none())
    }

    /// Whether the progress has changed since it was stored some time ago.
    fn should_save(&self) -> bool {
        self.saved.as_ref().is_none_or(|(saved, at)| *saved != self.progress && at.elapsed() >= SAVE_EVERY)
    }

    async fn save(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let progress = serde_json::to_value(&self.progress).expect("it has string keys only");
        within_limit(audit::save(connection, &self.progress.report(), &progress)).await?;
        self.saved = Some((self.progress.clone(), Instant::now()));
        Ok(())
    }

    /// The time between the starts of two ranges; between passes, how often to look whether one is due.
    fn pace(&self) -> Duration {
        if self.progress.position().is_none() {
            return self.every.clamp(PACE_MIN, LOOK_EVERY);
        }
        let ranges = u32::try_from(self.progress.rows_expected() / ROWS.unsigned_abs()).unwrap_or(u32::MAX);
        (self.every / ranges.max(1)).clamp(PACE_MIN, PACE_MAX)
    }
}

/// What is wrong in the range, also at a second look.
async fn confirmed_findings(
    connection: &mut PgConnection,
    range: &Range,
) -> Result<Vec<Finding>, sqlx::Error> {
    let first = within_limit(range.findings(connection)).await?;
    if first.is_empty() {
        return Ok(first);
    }
    pause(CONFIRM_AFTER).await;
    let mut confirmed = within_limit(range.findings(connection)).await?;
    confirmed.retain(|finding| first.contains(finding));
    Ok(confirmed)
}

/// Whether this session holds the lock from now on. It is released with the session.
async fn try_lock(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "is_locked!""#, LOCK)
        .fetch_one(connection)
        .await
}

fn is_timeout(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == QUERY_CANCELED)
}

async fn within_limit<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(RESPONSE_TIMEOUT, work).await.unwrap_or_else(|_| {
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database does not respond")))
    })
}

async fn pause(duration: Duration) {
    let _ = timeout(duration, pending::<()>()).await;
}
