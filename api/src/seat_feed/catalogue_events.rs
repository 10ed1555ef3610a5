//! Tells the clients that watch a concert's seats when its description, its tiers or their types have changed.
//!
//! The cache of the catalogue finds changes of any concert, with one query a few times a second for the whole instance (decision 37).
//! After each, one query reads the versions of the watched concerts, and those that differ are broadcast. A sale changes a tier's
//! number of available seats, and so the version of all tiers, but not that of the concert.

use std::sync::Arc;
use std::time::Duration;

use hamro_shared::domain::ConcertId;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::SeatFeed;
use super::error::{SeatFeedError, within_timeout};
use super::watched_seat_map::WatchedSeatMap;
use crate::catalogue::versions;
use crate::catalogue_cache::CatalogueCache;

/// How often the cache is asked. Changes in between are one event.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// A version is sent so long after it was read. By then all instances serve documents that are at least as new, whichever of them a
/// client asks.
const SEND_AFTER: Duration = Duration::from_secs(1);

impl SeatFeed {
    /// Broadcasts changes of the watched concerts, until `stop` is cancelled.
    pub async fn run_catalogue(
        self,
        catalogue: CatalogueCache,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        stop.run_until_cancelled(self.keep_comparing(catalogue)).await;
        Ok(())
    }

    async fn keep_comparing(&self, catalogue: CatalogueCache) {
        let mut ticks = interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut compared = None;
        loop {
            ticks.tick().await;
            let seat_maps = self.watched.loaded();
            if !seat_maps.iter().any(|seat_map| seat_map.has_streams()) {
                // Nobody asks the cache until the next stream is opened.
                compared = None;
                continue;
            }
            // If Postgres is away, the cache has logged it.
            let Some(numbers) = catalogue.version_numbers().await else { continue };
            let has_changed = compared != Some(numbers);
            let outdated: Vec<_> = seat_maps
                .into_iter()
                .filter(|seat_map| has_changed || !seat_map.has_catalogue_version())
                .collect();
            match self.compare_catalogue(&outdated).await {
                Ok(()) => compared = Some(numbers),
                Err(error) => debug!("cannot read the versions of the watched concerts: {error}"),
            }
        }
    }

    async fn compare_catalogue(&self, seat_maps: &[Arc<WatchedSeatMap>]) -> Result<(), SeatFeedError> {
        if seat_maps.is_empty() {
            return Ok(());
        }
        let concerts: Vec<ConcertId> = seat_maps.iter().map(|seat_map| seat_map.concert).collect();
        let query = self.reader.database().query(move |connection| {
            let concerts = concerts.clone();
            Box::pin(async move { versions::of_concerts(connection, &concerts).await })
        });
        let mut versions = within_timeout(query).await?;
        #[expect(
            clippy::disallowed_methods,
            reason = "only time tells when the other instances have caught up"
        )]
        sleep(SEND_AFTER).await;
        for seat_map in seat_maps {
            match versions.remove(&seat_map.concert) {
                Some(version) => seat_map.set_catalogue_version(version),
                None => self.watched.remove(seat_map),
            }
        }
        Ok(())
    }
}
