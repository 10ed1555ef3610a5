//! What the live view shows from the database, read at most once a second however many tabs are open.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hamro_shared::audit::{self, AuditReport};
use hamro_shared::canary::{self, CanaryReport};
use hamro_shared::database::Database;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use tokio::task::spawn;
use tokio::time::{Instant, timeout};
use tracing::debug;

/// They are read again after this time.
const READ_EVERY: Duration = Duration::from_secs(1);
/// The live view does not wait longer for the database.
const WAIT_MAX: Duration = Duration::from_millis(700);

/// The reports as one instance knows them. Clones share them.
#[derive(Clone)]
pub struct Reports(Arc<Inner>);

struct Inner {
    database: Database,
    latest: Mutex<Reading>,
}

/// The latest reading. `None` if it failed, or if there was none yet.
#[derive(Default)]
struct Reading {
    values: Option<Arc<ReportValues>>,
    began_at: Option<Instant>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportValues {
    pub dead_letters: DeadLetterCount,
    /// `None` if there was no audit yet.
    pub audit: Option<AuditReport>,
    /// `None` if the canary never ran.
    pub canary: Option<CanaryReport>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterCount {
    /// Those that nobody has decided about.
    pub open: i64,
}

impl Reports {
    pub fn new(database: Database) -> Self {
        Self(Arc::new(Inner { database, latest: Mutex::default() }))
    }

    /// The reports, about a second old at most. `None` while the database does not respond.
    pub async fn get(&self) -> Option<Arc<ReportValues>> {
        if self.begins_reading(Instant::now()) {
            let reports = self.clone();
            // In its own task, because the others rely on it if this request is cancelled.
            let reading = spawn(async move { reports.read().await });
            let _ = timeout(WAIT_MAX, reading).await;
        }
        self.latest().values.clone()
    }

    /// Whether the caller should read them. Others that ask meanwhile get the previous ones.
    fn begins_reading(&self, now: Instant) -> bool {
        let mut latest = self.latest();
        let is_due = latest.began_at.is_none_or(|at| now.duration_since(at) >= READ_EVERY);
        if is_due {
            latest.began_at = Some(now);
        }
        is_due
    }

    async fn read(&self) {
        let values = self.0.database.query(|connection| Box::pin(read(connection))).await;
        if let Err(error) = &values {
            debug!("cannot read the reports of the live view: {error}");
        }
        self.latest().values = values.ok().map(Arc::new);
    }

    fn latest(&self) -> std::sync::MutexGuard<'_, Reading> {
        self.0.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(connection: &mut PgConnection) -> Result<ReportValues, sqlx::Error> {
    let open =
        sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM dead_letters WHERE resolved_at IS NULL"#)
            .fetch_one(&mut *connection)
            .await?;
    let audit = audit::latest_report(connection).await?;
    let canary = canary::latest_report(connection).await?;
    Ok(ReportValues { dead_letters: DeadLetterCount { open }, audit, canary })
}
