//! Watches the epoch of the database. After a restore, an instance that kept running forgets what it knew before.
//!
//! Outcomes, seat maps and the catalogue in memory may be of a history that no longer exists. Without this, they would be wrong for up to a
//! minute. What else an instance remembers is compared with the database every second anyway.

use std::time::Duration;

use hamro_shared::database::Database;
use hamro_shared::epoch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::catalogue_cache::CatalogueCache;
use crate::outcomes::Outcomes;
use crate::seat_feed::SeatFeed;

const READ_EVERY: Duration = Duration::from_secs(1);

/// What belongs to one epoch.
pub struct Memory {
    pub outcomes: Outcomes,
    pub seat_feed: SeatFeed,
    pub catalogue: CatalogueCache,
}

impl Memory {
    async fn forget(&self) {
        self.outcomes.forget();
        self.catalogue.forget();
        self.seat_feed.reload_all().await;
    }
}

/// Reads the epoch until `stop` is cancelled.
pub async fn run(database: Database, memory: Memory, stop: CancellationToken) -> anyhow::Result<()> {
    let mut ticks = interval(READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known: Option<Uuid> = None;
    let watching = async {
        loop {
            ticks.tick().await;
            match database.query(|connection| Box::pin(epoch::current(connection))).await {
                Ok(None) => {}
                Ok(Some(current)) => {
                    let is_new = known.replace(current.id).is_some_and(|known| known != current.id);
                    if is_new {
                        warn!(
                            "the database has a new epoch, after a {}: forgetting what is cached",
                            current.reason
                        );
                        memory.forget().await;
                    }
                }
                // Before the schema is migrated, and while the database is away, which other parts log.
                Err(error) => debug!("cannot read the epoch of the database: {error}"),
            }
        }
    };
    stop.run_until_cancelled(watching).await;
    Ok(())
}
