//! Keeps the watched seat maps up to date: broadcasts their changes, compares them with the database, and reloads those that
//! have missed a change.

use std::sync::Arc;
use std::time::Duration;

use hamro_shared::domain::ConcertId;
use tokio::task::spawn;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::SeatFeed;
use super::error::{SeatFeedError, within_timeout};
use super::version::SeatMapVersion;
use super::watched_seat_map::WatchedSeatMap;

/// How often changes are sent to clients, however many bookings are settled in between.
const BROADCAST_EVERY: Duration = Duration::from_millis(100);

/// How often the seat maps are compared with the database. The second comparison after a commit detects that its
/// announcement was lost, so clients see the sale about a second after it.
const RECONCILE_EVERY: Duration = Duration::from_millis(350);

/// How many seat maps are reloaded at the same time.
pub const RELOADS_AT_ONCE: usize = 4;

impl SeatFeed {
    /// Keeps the seat maps up to date and broadcasts their changes, until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = self.keep_broadcasting() => {}
            () = self.keep_reconciling() => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    /// Reloads all seat maps: the database was restored, and equal numbers do not mean equal seats.
    pub async fn reload_all(&self) {
        for seat_map in self.watched.all() {
            if seat_map.is_loaded() {
                seat_map.forget_stored();
                self.reload(&seat_map).await;
            }
        }
    }

    async fn keep_broadcasting(&self) {
        let mut ticks = interval(BROADCAST_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for seat_map in self.watched.all() {
                seat_map.broadcast_changes();
            }
        }
    }

    async fn keep_reconciling(&self) {
        let mut ticks = interval(RECONCILE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.watched.evict_unwatched();
            let seat_maps = self.watched.loaded();
            if seat_maps.is_empty() {
                continue;
            }
            match self.find_outdated(&seat_maps).await {
                Ok(outdated) => outdated.iter().for_each(|seat_map| self.reload_in_background(seat_map)),
                Err(error) => {
                    warn!("cannot compare the seat maps with the database: {error}");
                    for seat_map in &seat_maps {
                        seat_map.record_failure();
                    }
                }
            }
            self.compared.notify_waiters();
        }
    }

    /// Compares the seat maps with the database. Returns those that have missed a change.
    async fn find_outdated(
        &self,
        seat_maps: &[Arc<WatchedSeatMap>],
    ) -> Result<Vec<Arc<WatchedSeatMap>>, SeatFeedError> {
        let available_before: Vec<usize> = seat_maps.iter().map(|seat_map| seat_map.available()).collect();
        let concerts: Vec<ConcertId> = seat_maps.iter().map(|seat_map| seat_map.concert).collect();
        let compared_at = Instant::now();
        let query = self.reader.database().query(move |connection| {
            let concerts = concerts.clone();
            Box::pin(async move { SeatMapVersion::load_all(connection, &concerts).await })
        });
        let versions = within_timeout(query).await?;
        let mut outdated = Vec::new();
        for (seat_map, available_before) in seat_maps.iter().zip(available_before) {
            let version = versions.get(&seat_map.concert).cloned().unwrap_or_default();
            if seat_map.compare(version, available_before, compared_at) {
                outdated.push(seat_map.clone());
            }
        }
        Ok(outdated)
    }

    /// In a task of its own: the other seat maps are compared again meanwhile.
    fn reload_in_background(&self, seat_map: &Arc<WatchedSeatMap>) {
        let Some(reload) = seat_map.begin_reload() else { return };
        let feed = self.clone();
        spawn(async move {
            // Is never closed.
            let _permit = feed.reloads.acquire().await;
            feed.reload(&reload.seat_map).await;
            feed.compared.notify_waiters();
        });
    }

    /// Reloads a seat map. If this fails, the next comparison tries again.
    async fn reload(&self, seat_map: &Arc<WatchedSeatMap>) {
        match self.read(seat_map, Instant::now()).await {
            Ok(()) | Err(SeatFeedError::ConcertNotFound) => {}
            Err(error) => {
                let concert = seat_map.concert;
                warn!(concert.id = %concert, "cannot read the seats of concert {concert}: {error}");
                seat_map.record_failure();
            }
        }
    }
}
