//! Finishes releases whose instance did not: it ended or lost the database between the two transactions of a release. Until then,
//! nobody can have the released seats.
//!
//! Every instance does so, and only the first one finishes a release. A release that is visible here is committed.

use std::collections::BTreeSet;
use std::time::Duration;

use hamro_shared::database::Database;
use sqlx::postgres::PgConnection;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::bookings::release_transaction::{ReleaseId, finish_release};

const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks for unfinished releases until `stop` is cancelled.
pub async fn run(database: Database, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = BTreeSet::new();
    let looking = async {
        loop {
            ticks.tick().await;
            match database.query(|connection| Box::pin(unfinished(connection))).await {
                Ok(found) => {
                    // Their instances are about to finish the others.
                    for release in found.intersection(&seen) {
                        finish(&database, *release).await;
                    }
                    seen = found;
                }
                // Before the schema is migrated, and while the database is away, which other parts log.
                Err(error) => debug!("cannot read the unfinished releases: {error}"),
            }
        }
    };
    // What is not finished, another instance finishes.
    stop.run_until_cancelled(looking).await;
    Ok(())
}

async fn unfinished(connection: &mut PgConnection) -> Result<BTreeSet<ReleaseId>, sqlx::Error> {
    let found =
        sqlx::query_scalar!(r#"SELECT id AS "id: ReleaseId" FROM releases WHERE NOT is_finished LIMIT 100"#);
    Ok(found.fetch_all(connection).await?.into_iter().collect())
}

async fn finish(database: &Database, release: ReleaseId) {
    match database.transaction(move |connection| Box::pin(finish_release(connection, release))).await {
        Ok(0) => {}
        Ok(seats) => {
            warn!("made {seats} released seats free: the instance that released them did not finish");
        }
        Err(error) => warn!("the seats of a release cannot be sold yet: {error}; retrying within seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::assert_ends_at_once;

    #[tokio::test]
    async fn a_database_that_does_not_respond_does_not_delay_the_end() {
        assert_ends_at_once(run).await;
    }
}
