//! The layout of a concert: made once for each version, which never changes.

use std::sync::Arc;
use std::time::Duration;

use hamro_shared::domain::ConcertId;
use tokio::time::Instant;

use super::kept::{Made, Slot};
use super::{SeatMapError, SeatMaps, json, wait};
use crate::http::ready_body::ReadyBody;
use crate::seat_feed::layout_version::LayoutVersion;
use crate::seat_feed::{SeatFeedError, WatchedSeatMap};

/// How often requests for an unknown layout have the seats read: another instance may know it already.
const UNKNOWN_LAYOUT_EVERY: Duration = Duration::from_millis(250);

impl SeatMaps {
    /// A version of the layout of a concert.
    pub async fn layout(
        &self,
        concert: ConcertId,
        version: LayoutVersion,
    ) -> Result<ReadyBody, SeatMapError> {
        let seat_map = self.0.feed.watch(concert).await?;
        if seat_map.layout_version() != version {
            self.read_unknown_layout(&seat_map).await?;
            if seat_map.layout_version() != version {
                return Err(SeatMapError::LayoutChanged);
            }
        }
        let kept = self.kept(&seat_map);
        let slot = &kept.layout;
        let is_wanted = |made: &Made| made.revision == revision(version);
        if let Some(made) = slot.made().filter(is_wanted) {
            return Ok(made.body);
        }
        let _turn = slot.turn().await;
        if let Some(made) = slot.made().filter(is_wanted) {
            return Ok(made.body);
        }
        self.make_layout(&seat_map, version, slot).await
    }

    /// Reads the seats, because another instance may have noticed a change before this one. All who ask for an unknown version
    /// wait for one read.
    async fn read_unknown_layout(&self, seat_map: &Arc<WatchedSeatMap>) -> Result<(), SeatFeedError> {
        // One at a time for all concerts, so that nobody can keep others from reading by asking for layouts that never existed.
        let _turn = self.0.unknown_layouts.lock().await;
        let now = Instant::now();
        let next_read = seat_map.read_at().map_or(now, |read_at| read_at + UNKNOWN_LAYOUT_EVERY);
        wait(next_read.saturating_duration_since(now)).await;
        self.0.feed.read(seat_map, next_read.max(now)).await
    }

    async fn make_layout(
        &self,
        seat_map: &WatchedSeatMap,
        version: LayoutVersion,
        slot: &Slot,
    ) -> Result<ReadyBody, SeatMapError> {
        let (table, as_of) = seat_map.stored().ok_or(SeatFeedError::ConcertNotFound)?;
        if table.layout_version() != version {
            return Err(SeatMapError::LayoutChanged);
        }
        let (revision, seats) = (revision(version), table.total());
        let (body, took) =
            self.make_large("layout", move || ReadyBody::json(json::layout::encode(&table))).await?;
        let made_at = Instant::now();
        let made = slot.keep(Made { body, as_of, revision, seats, made_at, took, last_event_id: None });
        self.forget_oldest();
        Ok(made.body)
    }
}

/// A number that identifies the version among the few that a concert has.
fn revision(LayoutVersion(version): LayoutVersion) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&version[..8]);
    u64::from_le_bytes(first)
}
