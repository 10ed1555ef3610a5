//! The schema and the demo data: both are put in place at start, by however many instances start at once.

use std::time::Duration;

use sqlx::Connection;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use tracing::{info, warn};

use super::{DatabaseClock, Sessions, is_transient};
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
            MigrateError::Execute(error) if is_transient(&error) => Self::Unreachable(error),
            error => Self::Broken(error),
        }
    }
}

/// Brings the schema up to date. Instances that start together take turns. A schema that is newer than this binary is
/// left as it is: in a rolling upgrade, or after a roll-back, old and new run side by side.
pub async fn migrate(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let migrator =
        Migrator { migrations: MIGRATOR.migrations.clone(), ignore_missing: true, ..Migrator::DEFAULT };
    migrator.run_direct(None, connection, false).await?;
    Ok(())
}

/// Puts the demo concerts into a catalogue that is empty: one that has ticket types has been somebody's already. Instances that start together seed it once.
pub async fn seed(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let mut transaction = connection.begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", SEED_LOCK).execute(&mut *transaction).await?;
    let empty = sqlx::query_scalar!(
        r#"SELECT NOT EXISTS (SELECT FROM concerts) AND NOT EXISTS (SELECT FROM ticket_types) AS "empty!""#
    )
    .fetch_one(&mut *transaction)
    .await?;
    if empty {
        sqlx::raw_sql(DEMO).execute(&mut *transaction).await?;
        transaction.commit().await?;
        info!("put the demo concerts into the empty catalogue");
    }
    Ok(())
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// A number that no other running instance has.
pub async fn next_instance_number(connection: &mut PgConnection) -> Result<u32, SchemaError> {
    let number = sqlx::query_scalar!(r#"SELECT nextval('instance_numbers') AS "number!""#);
    let number = number.fetch_one(connection).await.map_err(|error| match code(&error).as_deref() {
        // undefined_table: somebody else has yet to migrate.
        Some("42P01") => SchemaError::Unreachable(error),
        _ => error.into(),
    })?;
    Ok(u32::try_from(number).unwrap_or_default())
}

/// Waits until the schema is at least as new as this binary. It is put in place by the api, and a worker may well
/// be up before it.
async fn wait_for_schema(sessions: &Sessions) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    let wanted = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or_default();
    loop {
        match schema_version(sessions).await {
            Ok(Some(found)) if found >= wanted => return,
            Ok(found) => info!(schema.found = found, schema.wanted = wanted, "waiting for the schema"),
            Err(error) => warn!("waiting for the schema: {error}"),
        }
        backoff.pause().await;
    }
}

/// Waits until bookings can be settled: the schema is there, and it is known what time it is by the database's clock.
pub async fn wait_until_usable(sessions: &Sessions, clock: &DatabaseClock) {
    wait_for_schema(sessions).await;
    clock.measured().await;
}

async fn schema_version(sessions: &Sessions) -> Result<Option<i64>, sqlx::Error> {
    let mut connection = sessions.open().await?.connection;
    // Checked at run time: the table is sqlx's own and in none of our migrations.
    let version = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(&mut connection)
        .await?;
    connection.close().await?;
    Ok(version)
}
