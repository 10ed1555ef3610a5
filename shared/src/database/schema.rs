//! The schema and the demo data. Any number of instances may apply them at once when they start.

use std::time::Duration;

use sqlx::Connection;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use tracing::{info, warn};

use super::{DatabaseClock, Sessions, is_refusal, is_transient};
use crate::backoff::Backoff;

/// The migrations in `migrations/`, embedded at build time.
pub static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

const DEMO: &str = include_str!("../../../seeds/demo.sql");

/// The advisory lock that lets one instance seed at a time; any number that nothing else uses.
const SEED_LOCK: i64 = 0x6861_6d72_6f5f_7365;

#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Temporary; worth a retry.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// The server refuses this process, and did so since its start. An operator has to act.
    #[error("the database refuses this process: {0}")]
    Refused(sqlx::Error),
    /// Permanent; waiting does not help.
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
            MigrateError::Execute(error) if is_refusal(&error) => Self::Refused(error),
            MigrateError::Execute(error) if is_transient(&error) => Self::Unreachable(error),
            error => Self::Broken(error),
        }
    }
}

/// Brings the schema up to date. Instances that start together take turns. A schema that is newer than this binary is
/// left unchanged: in a rolling upgrade, or after a rollback, old and new binaries run side by side.
pub async fn migrate(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let migrator =
        Migrator { migrations: MIGRATOR.migrations.clone(), ignore_missing: true, ..Migrator::DEFAULT };
    migrator.run_direct(None, connection, false).await?;
    Ok(())
}

/// Adds the demo concerts to an empty catalogue. One that has ticket types is already in use. Instances that start
/// together seed it once.
pub async fn seed(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let mut transaction = connection.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", SEED_LOCK).execute(&mut *transaction).await?;
    let empty = sqlx::query_scalar!(
        r#"
        SELECT NOT EXISTS (SELECT FROM concerts WHERE NOT hidden)
               AND NOT EXISTS (SELECT FROM ticket_types WHERE NOT hidden) AS "empty!"
        "#
    )
    .fetch_one(&mut *transaction)
    .await?;
    if empty {
        sqlx::raw_sql(DEMO).execute(&mut *transaction).await?;
        transaction.commit().await?;
        info!("added the demo concerts to the empty catalogue");
    }
    Ok(())
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// The next number of an instance. They repeat only after 32768 starts.
pub async fn next_instance_number(connection: &mut PgConnection) -> Result<u32, SchemaError> {
    let number = sqlx::query_scalar!(r#"SELECT nextval('instance_numbers') AS "number!""#);
    let number = number.fetch_one(connection).await.map_err(|error| match code(&error).as_deref() {
        // undefined_table: another process has yet to migrate the schema.
        Some("42P01") => SchemaError::Unreachable(error),
        _ => error.into(),
    })?;
    Ok(u32::try_from(number).unwrap_or_default())
}

/// Waits until the schema is at least as new as this binary. The api migrates it, and a worker may start before the
/// api. Fails if the database has refused this process since its start. A later refusal may be a password that is being
/// changed.
async fn wait_for_schema(sessions: &Sessions) -> Result<(), SchemaError> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    let required = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default();
    loop {
        match schema_version(sessions).await {
            Ok(Some(found)) if found >= required => return Ok(()),
            Ok(found) => info!(schema.found = found, schema.required = required, "waiting for the schema"),
            Err(error) if is_refusal(&error) && !sessions.have_worked() => {
                return Err(SchemaError::Refused(error));
            }
            Err(error) => warn!("waiting for the schema: {error}"),
        }
        backoff.pause().await;
    }
}

/// Waits until bookings can be settled: the schema is up to date, and the database clock has been measured. Fails if
/// waiting does not help.
pub async fn wait_until_database_usable(
    sessions: &Sessions,
    clock: &DatabaseClock,
) -> Result<(), SchemaError> {
    wait_for_schema(sessions).await?;
    clock.measured().await;
    Ok(())
}

async fn schema_version(sessions: &Sessions) -> Result<Option<i64>, sqlx::Error> {
    let mut connection = sessions.open().await?.connection;
    // Not checked at compile time: sqlx creates the table, our migrations do not.
    let version = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(version)
}
