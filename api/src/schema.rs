//! Puts the schema and the demo data in place while the api starts.

use std::time::Duration;

use hamro_shared::backoff::Backoff;
use hamro_shared::database::{self, SchemaError};
use sqlx::postgres::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

#[derive(Clone, Copy, Debug)]
pub struct SchemaConfig {
    pub migrate: bool,
    pub seed: bool,
}

/// Migrates and seeds as configured, trying until the database can be reached; then stays until it is asked to stop.
/// The intake needs no database, so it does not wait for this, but the instance is not ready before. Fails if the
/// schema cannot be brought up to date, which no waiting would mend.
pub async fn prepare(
    pool: PgPool,
    config: SchemaConfig,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        let attempt = tokio::select! {
            attempt = attempt(&pool, config) => attempt,
            () = stop.cancelled() => return Ok(()),
        };
        match attempt {
            Ok(()) => break,
            Err(SchemaError::Unreachable(error)) => warn!("waiting for the database: {error}"),
            Err(error) => return Err(error.into()),
        }
        backoff.pause().await;
    }
    ready.send_replace(true);
    pool.close().await;
    stop.cancelled().await;
    Ok(())
}

async fn attempt(pool: &PgPool, config: SchemaConfig) -> Result<(), SchemaError> {
    if config.migrate {
        database::migrate(pool).await?;
    }
    if config.seed {
        database::seed(pool).await?;
    }
    Ok(())
}
