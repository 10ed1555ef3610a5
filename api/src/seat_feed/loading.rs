//! Loads the seats of a concert that nobody has asked for lately, once for all who ask now.

use std::sync::Arc;

use hamro_shared::domain::ConcertId;
use tokio::task::spawn;
use tokio::time::timeout;

use super::SeatFeed;
use super::error::{LOAD_TIMEOUT, SeatFeedError};
use super::watched_seat_map::WatchedSeatMap;

impl SeatFeed {
    /// Adds the seat map of a concert and loads it, unless another request does so already.
    pub(super) async fn load(&self, concert: ConcertId) -> Result<Arc<WatchedSeatMap>, SeatFeedError> {
        let permit = || self.loads.clone().try_acquire_owned().map_err(|_| SeatFeedError::TooManyLoads);
        let (seat_map, permit) = self.watched.find_or_add(concert, permit)?;
        // In a separate task: the client that started the load may disconnect while others wait for it. The task also
        // removes the map if there is no such concert.
        let loading = self.clone().ensure_loaded(seat_map.clone());
        let loading = spawn(async move {
            let _permit = permit;
            loading.await
        });
        timeout(LOAD_TIMEOUT, loading).await.map_err(|_| SeatFeedError::TimedOut)???;
        Ok(seat_map)
    }

    /// Loads a seat map that was just added, or removes it if its concert does not exist or cannot be read.
    async fn ensure_loaded(self, seat_map: Arc<WatchedSeatMap>) -> Result<(), SeatFeedError> {
        let result = match seat_map.ensure_loaded(&self.reader).await {
            Ok(true) => return Ok(()),
            Ok(false) => Err(SeatFeedError::ConcertNotFound),
            Err(error) => Err(error.into()),
        };
        self.watched.remove(&seat_map);
        result
    }
}
