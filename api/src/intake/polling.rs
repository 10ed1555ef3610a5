//! Reads the controls once a second, because their announcement may have been lost.

use std::time::Duration;

use hamro_shared::database::Database;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::stored::StoredControls;
use super::{Intake, stored};

const POLL_EVERY: Duration = Duration::from_secs(1);

/// The SQLSTATE of a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";

/// Keeps the controls current until `stop` is cancelled.
pub async fn run(intake: Intake, database: Database, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = interval(POLL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let began_at = Instant::now();
        match read(&database).await {
            Ok(stored) => {
                intake.on_stored(stored, began_at);
                if is_failing {
                    info!("the controls of the intake can be read again");
                }
                is_failing = false;
            }
            // One line for each outage.
            Err(error) if !is_failing => {
                warn!("cannot read the controls of the intake, so the last known ones hold: {error}");
                is_failing = true;
            }
            Err(_) => {}
        }
    }
    Ok(())
}

async fn read(database: &Database) -> Result<StoredControls, sqlx::Error> {
    match database.query(|connection| Box::pin(stored::read(connection))).await {
        // The schema is older than this program, so nobody can have paused the intake.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(UNDEFINED_TABLE) => {
            Ok(StoredControls::default())
        }
        result => result,
    }
}
