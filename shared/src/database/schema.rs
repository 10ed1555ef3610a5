//! The schema and the demo data: both are put in place at start, by however many instances start at once.

use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgPool;
use tracing::{info, warn};

use crate::backoff::Backoff;

/// The migrations in `migrations/`, as they were when this was built.
pub static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

const DEMO: &str = include_str!("../../../seeds/demo.sql");

/// Serialises seeding among instances; any number that nothing else uses will do.
const SEED_LOCK: i64 = 0x6861_6d72_6f5f_7365;

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Worth another try.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// Not to be mended by waiting.
    #[error("the schema cannot be brought up to date")]
    Broken(#[source] MigrateError),
}

impl From<sqlx::Error> for SchemaError {
    fn from(error: sqlx::Error) -> Self {
        Self::from(MigrateError::Execute(error))
    }
}

impl From<MigrateError> for SchemaError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(
                error @ (sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_)),
            ) => Self::Unreachable(error),
            // The server answered, but is starting up or shutting down (class 57P), or full (53300).
            MigrateError::Execute(sqlx::Error::Database(error))
                if error.code().is_some_and(|code| code.starts_with("57P") || code == "53300") =>
            {
                Self::Unreachable(sqlx::Error::Database(error))
            }
            error => Self::Broken(error),
        }
    }
}

/// Brings the schema up to date. Instances that start together take turns.
pub async fn migrate(pool: &PgPool) -> Result<(), SchemaError> {
    MIGRATOR.run(pool).await?;
    Ok(())
}

/// Puts the demo concerts into a catalogue that has none. Instances that start together seed it once.
pub async fn seed(pool: &PgPool) -> Result<(), SchemaError> {
    let mut transaction = pool.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", SEED_LOCK).execute(&mut *transaction).await?;
    let empty = sqlx::query_scalar!(r#"SELECT NOT EXISTS (SELECT FROM concerts) AS "empty!""#)
        .fetch_one(&mut *transaction)
        .await?;
    if empty {
        sqlx::raw_sql(DEMO).execute(&mut *transaction).await?;
        transaction.commit().await?;
        info!("put the demo concerts into the empty catalogue");
    }
    Ok(())
}

/// Waits until the schema is at least as new as this binary. It is put in place by the api, and a worker may well
/// be up before it.
pub async fn wait_for_schema(pool: &PgPool) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    let wanted = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default();
    loop {
        // Checked at run time: the table is sqlx's own and in none of our migrations.
        let found: Result<Option<i64>, _> =
            sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
                .fetch_one(pool)
                .await;
        match found {
            Ok(Some(found)) if found >= wanted => return,
            Ok(found) => info!(schema.found = found, schema.wanted = wanted, "waiting for the schema"),
            Err(error) => warn!("waiting for the schema: {error}"),
        }
        backoff.pause().await;
    }
}
