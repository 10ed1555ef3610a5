//! Sessions of Postgres that end at the worst moment.

use anyhow::Result;
use hamro_e2e::{Installation, Setup, Trial};

pub async fn end_sessions(installation: &Installation) -> Result<()> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'hamro-%'",
    )
    .execute(&installation.pool)
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_postgres_ends_are_replaced() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |installation, crowd| {
            for _ in 0..5 {
                end_sessions(installation).await?;
                crowd.has_pursued(20).await?;
            }
            Ok(())
        })
        .await
}
