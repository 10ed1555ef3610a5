//! The status of the seats: it is small, so it is made again at most ten times a second and is always current.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use hamro_shared::domain::ConcertId;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::kept::{Made, Slot};
use super::{Document, SeatMapError, SeatMaps, json, processor_time};
use crate::http::ready_body::ReadyBody;
use crate::seat_feed::WatchedSeatMap;

/// How long a status may be sent after it was made, however much has changed.
const STATUS_FOR: Duration = Duration::from_millis(100);

impl SeatMaps {
    /// Which seats are free, at most a second old.
    pub async fn status(&self, concert: ConcertId) -> Result<Document, SeatMapError> {
        let seat_map = self.0.feed.watch(concert).await?;
        let unverified = self.0.feed.verify(&seat_map).await?;
        if unverified.is_none() {
            self.read_own_writes(&seat_map).await?;
        }
        let kept = self.kept(&seat_map);
        let slot = &kept.status;
        let needed = self.0.feed.needed(&seat_map);
        let is_current = |made: &Made| {
            let is_young = made.made_at.elapsed() < STATUS_FOR && needed.has_own_writes(made.as_of);
            is_young || made.revision == seat_map.revision()
        };
        if let Some(made) = slot.made().filter(is_current) {
            return Ok(made.document(unverified));
        }
        let _turn = slot.turn().await;
        if let Some(made) = slot.made().filter(is_current) {
            return Ok(made.document(unverified));
        }
        Ok(self.make_status(&seat_map, slot).await?.document(unverified))
    }

    /// Reads what this instance has changed itself since the last read.
    async fn read_own_writes(&self, seat_map: &Arc<WatchedSeatMap>) -> Result<(), SeatMapError> {
        if let Some(written_at) = self.0.feed.needed(seat_map).own_writes_since
            && seat_map.read_at().is_none_or(|read_at| read_at < written_at)
        {
            self.0.feed.read(seat_map, written_at).await?;
        }
        Ok(())
    }

    async fn make_status(&self, seat_map: &WatchedSeatMap, slot: &Slot) -> Result<Made, SeatMapError> {
        // Before the rest: an announcement is no read, which may have found more.
        let as_of = seat_map.read_at().unwrap_or_else(Instant::now);
        let current = seat_map.current();
        let (revision, seats) = (current.revision, current.total);
        let last_event_id = HeaderValue::from_str(&current.last_event_id).ok();
        let make = move || processor_time::measured(|| ReadyBody::json(json::status::encode(&current)));
        let (body, took) = spawn_blocking(make).await?;
        let made_at = Instant::now();
        self.0.metrics.record("status", took);
        Ok(slot.keep(Made { body, as_of, revision, seats, made_at, took, last_event_id }))
    }
}
