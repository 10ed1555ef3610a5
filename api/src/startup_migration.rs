//! Migrates the schema and adds the demo data while the api starts.

use std::time::Duration;

use hamro_shared::backoff::Backoff;
use hamro_shared::config::Env;
use hamro_shared::database::{self, SchemaError, Sessions};
use hamro_shared::domain::TicketKeys;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

#[derive(Clone, Copy, Debug)]
pub struct SchemaConfig {
    pub migrate: bool,
    pub seed: bool,
}

impl SchemaConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let migrate = env
            .variable("MIGRATE_ON_START", "Whether to migrate the database schema at start.", "true or false")
            .or_default("true");
        let seed = env
            .variable(
                "SEED_ON_START",
                "Whether to add the demo concerts to an empty catalogue at start.",
                "true or false",
            )
            .or_default("true");
        Some(Self { migrate: migrate?, seed: seed? })
    }
}

/// Migrates and seeds as configured, and assigns this instance its number. Retries until the database is reachable.
/// Then sends `ready` and waits for `stop`.
///
/// Accepting bookings needs no database and does not wait for this, but the instance is not ready before. Fails if the
/// database refuses the login or the migration fails, because a retry would not help.
pub async fn run(
    database: Sessions,
    config: SchemaConfig,
    ticket_keys: TicketKeys,
    ready: watch::Sender<bool>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        let attempt = tokio::select! {
            attempt = attempt(&database, config, &ticket_keys) => attempt,
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
    stop.cancelled().await;
    Ok(())
}

/// Uses a separate session. Dropping the future closes it.
async fn attempt(
    database: &Sessions,
    config: SchemaConfig,
    ticket_keys: &TicketKeys,
) -> Result<(), SchemaError> {
    let mut connection = database.open().await?.connection;
    if config.migrate {
        database::migrate(&mut connection).await?;
    }
    if config.seed {
        database::seed(&mut connection).await?;
    }
    ticket_keys.set_instance(database::next_instance_number(&mut connection).await?);
    Ok(())
}
