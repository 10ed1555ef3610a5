//! The latest report of the auditor and the open dead letters, which every worker exports, whoever audits. So they do not
//! disappear when another worker takes over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::audit::{AuditReport, Kind, latest_report};
use hamro_shared::database::Database;
use hamro_shared::metric_labels;
use hamro_shared::telemetry::metrics::MetricsRegistry;
use sqlx::postgres::PgConnection;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How often to read them.
const READ_EVERY: Duration = Duration::from_secs(2);

metric_labels! {
    struct MismatchKind {
        kind,
    }
}

/// What this worker has read last. While the database is away, that stays.
#[derive(Clone, Default)]
pub struct Observed(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    report: Option<AuditReport>,
    open_dead_letters: Option<i64>,
}

impl Observed {
    /// Exports the values. What was never read has no sample.
    #[expect(clippy::cast_precision_loss, reason = "gauges")]
    pub fn export(&self, registry: &mut MetricsRegistry) {
        let this = self.clone();
        registry.read_gauge(
            "dead_letters",
            "Dead letters that nobody has reissued or discarded",
            move || this.state().open_dead_letters.map(|count| count as f64),
        );
        let this = self.clone();
        let help = "Findings of the audit that must be zero, by kind";
        registry.read_gauges("audit_mismatches", help, move || {
            let state = this.state();
            let Some(report) = &state.report else { return Vec::new() };
            let count = |kind: Kind| report.mismatches.get(kind.as_str()).copied().unwrap_or_default() as f64;
            Kind::MISMATCHES.map(|kind| (MismatchKind { kind: kind.as_str() }, count(kind))).into()
        });
        for (name, help, read) in REPORT_GAUGES {
            let this = self.clone();
            registry.read_gauge(name, help, move || this.state().report.as_ref().and_then(read));
        }
    }

    /// Reads the values again and again until `stop`.
    pub async fn keep_reading(self, database: Database, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(READ_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let reading = async {
            loop {
                ticks.tick().await;
                match database.query(|connection| Box::pin(read(connection))).await {
                    Ok(state) => *self.state() = state,
                    // Before the schema is migrated, and while the database is away, which other parts log.
                    Err(error) => debug!("cannot read the report of the audit: {error}"),
                }
            }
        };
        stop.run_until_cancelled(reading).await;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type ReadReport = fn(&AuditReport) -> Option<f64>;

#[expect(clippy::cast_precision_loss, reason = "gauges")]
const REPORT_GAUGES: [(&str, &str, ReadReport); 5] = [
    (
        "audit_double_sold_seats",
        "Seats that the audit has found in more than one live sale; must be zero",
        |report| Some(report.double_sold_seats as f64),
    ),
    (
        "audit_last_completed_timestamp_seconds",
        "When the audit has last checked everything, as a Unix time",
        |report| report.completed_at.map(|at| at.unix_millis() as f64 / 1e3),
    ),
    (
        "audit_coverage_ratio",
        "The share of all rows that the running pass of the audit has checked, or the last one if none runs",
        |report| Some(report.coverage),
    ),
    (
        "audit_seats_checked",
        "Seats that the running pass of the audit has checked, or the last one",
        |report| Some(report.seats_checked as f64),
    ),
    ("audit_paused", "Whether the audit waits for the end of a rush", |report| {
        Some(f64::from(u8::from(report.is_paused)))
    }),
];

async fn read(connection: &mut PgConnection) -> Result<State, sqlx::Error> {
    let report = latest_report(&mut *connection).await?;
    let open =
        sqlx::query_scalar!(r#"SELECT count(*) AS "open!" FROM dead_letters WHERE resolved_at IS NULL"#)
            .fetch_one(connection)
            .await?;
    Ok(State { report, open_dead_letters: Some(open) })
}
