//! What the canary has found. The api runs it and stores the result of its last run; all instances read it.

use serde::Serialize;
use sqlx::postgres::PgConnection;

use crate::domain::Timestamp;

/// The result of the canary's last run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryReport {
    pub last_run_at: Timestamp,
    pub last_success_at: Option<Timestamp>,
    /// Where and why the last run failed, such as `accept: 503 queue-full after 0.2 s`. `None` if it did not.
    pub failure: Option<String>,
    /// The code with which the last run was refused on purpose, such as `intake-paused`.
    pub refused_with: Option<String>,
    pub duration_seconds: f64,
}

/// Reads the report. `None` if the canary never ran.
pub async fn latest_report(connection: &mut PgConnection) -> Result<Option<CanaryReport>, sqlx::Error> {
    sqlx::query_as!(
        CanaryReport,
        r#"
        SELECT last_run_at AS "last_run_at!: Timestamp", last_success_at AS "last_success_at: Timestamp", failure,
               refused_with, coalesce(duration_seconds, 0) AS "duration_seconds!"
        FROM canary
        WHERE last_run_at IS NOT NULL
        "#
    )
    .fetch_optional(connection)
    .await
}
