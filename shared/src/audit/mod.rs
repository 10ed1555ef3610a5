//! The rules for seats, sales, bookings and counters, and the report of the auditor, which checks them in the background.
//!
//! One worker audits and stores the report. Every program can read it, so it survives the worker. `hamro-api check` checks
//! the same rules at once, after a restore for example.

mod finding;
mod range;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::postgres::PgConnection;

pub use self::finding::{Counts, Finding, Kind, NO_ID};
pub use self::range::{Position, ROWS, Range, expected_rows};
use crate::domain::Timestamp;

/// What the auditor has found so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditReport {
    /// When the last pass over all rows ended; `None` before the first end.
    pub completed_at: Option<Timestamp>,
    /// Seats that the running pass has checked; between passes, those of the last one.
    pub seats_checked: u64,
    /// The share of all rows that the running pass has checked, from 0 to 1; between passes, that of the last one.
    pub coverage: f64,
    /// Seats in more than one live sale. Those that the running pass has found count at once; those that the last pass has
    /// found count until the running one has ended.
    pub double_sold_seats: u64,
    /// What else does not agree, by kind, counted in the same way. All kinds that the auditor looks for are listed.
    pub mismatches: BTreeMap<String, u64>,
    /// Whether the auditor waits for the end of a rush.
    pub is_paused: bool,
}

/// The latest report; `None` if no worker has audited, or if a newer version wrote what this one cannot read.
pub async fn latest_report(connection: &mut PgConnection) -> Result<Option<AuditReport>, sqlx::Error> {
    let stored = sqlx::query_scalar!("SELECT report FROM seat_audits").fetch_optional(connection).await?;
    Ok(stored.and_then(|report| serde_json::from_value(report).ok()))
}

/// How far the auditor is, as it has stored it.
pub async fn progress(connection: &mut PgConnection) -> Result<Option<Value>, sqlx::Error> {
    sqlx::query_scalar!("SELECT progress FROM seat_audits").fetch_optional(connection).await
}

/// Replaces the report and the progress.
pub async fn save(
    connection: &mut PgConnection,
    report: &AuditReport,
    progress: &Value,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO seat_audits (report, progress, saved_at) VALUES ($1, $2, now())
        ON CONFLICT (is_only_row) DO UPDATE
        SET report = excluded.report, progress = excluded.progress, saved_at = excluded.saved_at
        "#,
        serde_json::to_value(report).expect("a report has string keys only"),
        progress
    )
    .execute(connection)
    .await?;
    Ok(())
}
