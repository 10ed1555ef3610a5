//! The seat maps in memory, one for each concert, and which of them are forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::ConcertId;

use super::watched_seat_map::WatchedSeatMap;

/// How long an unwatched seat map is kept, for clients that reconnect.
const KEEP_UNWATCHED: Duration = Duration::from_secs(30);

/// How much memory the seats of all concerts take, unless more are being watched: those of 2 700 000 seats.
const BYTES_MAX: usize = 144 * 1024 * 1024;

type SeatMaps = HashMap<ConcertId, Arc<WatchedSeatMap>>;

#[derive(Default)]
pub struct WatchedMaps(Mutex<SeatMaps>);

impl WatchedMaps {
    pub fn get(&self, concert: ConcertId) -> Option<Arc<WatchedSeatMap>> {
        self.lock().get(&concert).cloned()
    }

    /// The seat map of a concert. Adds one if there is none and `permit` succeeds, and then also returns the permit.
    pub fn find_or_add<P, E>(
        &self,
        concert: ConcertId,
        permit: impl FnOnce() -> Result<P, E>,
    ) -> Result<(Arc<WatchedSeatMap>, Option<P>), E> {
        let mut seat_maps = self.lock();
        if let Some(seat_map) = seat_maps.get(&concert) {
            return Ok((seat_map.clone(), None));
        }
        let permit = permit()?;
        let seat_map = Arc::new(WatchedSeatMap::new(concert));
        seat_maps.insert(concert, seat_map.clone());
        Ok((seat_map, Some(permit)))
    }

    /// All seat maps, also those that are being loaded.
    pub fn all(&self) -> Vec<Arc<WatchedSeatMap>> {
        self.lock().values().cloned().collect()
    }

    pub fn by_concert(&self) -> HashMap<ConcertId, Arc<WatchedSeatMap>> {
        self.lock().clone()
    }

    /// The seat maps whose seats have been read.
    pub fn loaded(&self) -> Vec<Arc<WatchedSeatMap>> {
        self.lock().values().filter(|seat_map| seat_map.is_loaded()).cloned().collect()
    }

    /// Removes a seat map and ends the streams of its subscribers.
    pub fn remove(&self, seat_map: &Arc<WatchedSeatMap>) {
        let mut seat_maps = self.lock();
        if seat_maps.get(&seat_map.concert).is_some_and(|current| Arc::ptr_eq(current, seat_map)) {
            seat_maps.remove(&seat_map.concert);
        }
        seat_map.close();
    }

    /// Forgets the seat maps that nobody uses any more, and if they take too much memory, also those that were used longest
    /// ago. One with an open stream stays.
    pub fn evict_unwatched(&self) {
        let mut seat_maps = self.lock();
        seat_maps.retain(|_, seat_map| {
            if seat_map.has_streams() {
                seat_map.record_use();
            }
            seat_map.unused_for() < KEEP_UNWATCHED
        });
        evict_oldest(&mut seat_maps, BYTES_MAX, WatchedSeatMap::bytes);
    }

    fn lock(&self) -> MutexGuard<'_, SeatMaps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each open stream, and each request that is about to open one, holds a reference besides that of the collection.
fn is_held(seat_map: &Arc<WatchedSeatMap>) -> bool {
    Arc::strong_count(seat_map) > 1
}

/// Forgets seat maps that nobody holds until the others fit, first the ones that were used longest ago.
fn evict_oldest(seat_maps: &mut SeatMaps, bytes_max: usize, bytes_of: impl Fn(&WatchedSeatMap) -> usize) {
    let mut bytes: usize = seat_maps.values().map(|seat_map| bytes_of(seat_map)).sum();
    while bytes > bytes_max {
        let free = seat_maps.values().filter(|seat_map| !is_held(seat_map));
        let Some(oldest) = free.max_by_key(|seat_map| seat_map.unused_for()) else { break };
        let (concert, freed) = (oldest.concert, bytes_of(oldest));
        seat_maps.remove(&concert);
        bytes -= freed;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn seat_maps_that_were_used_longest_ago_are_forgotten_until_the_others_fit_unless_they_are_watched()
    {
        let concerts: Vec<ConcertId> = (0..4).map(|number| ConcertId(Uuid::from_u128(number))).collect();
        let mut seat_maps = HashMap::new();
        for concert in &concerts {
            seat_maps.insert(*concert, Arc::new(WatchedSeatMap::new(*concert)));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let watched = seat_maps[&concerts[0]].clone();
        evict_oldest(&mut seat_maps, 25, |_| 10);
        let mut left: Vec<ConcertId> = seat_maps.keys().copied().collect();
        left.sort_unstable();
        assert_eq!(left, [concerts[0], concerts[3]]);
        evict_oldest(&mut seat_maps, 5, |_| 10);
        assert_eq!(seat_maps.keys().collect::<Vec<_>>(), [&watched.concert]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_seat_map_is_kept_for_its_streams_and_not_for_a_passing_reference() {
        let maps = WatchedMaps::default();
        let add = |number| {
            let added = maps.find_or_add(ConcertId(Uuid::from_u128(number)), || Ok::<_, ()>(()));
            added.expect("there is a permit").0
        };
        let (watched, held) = (add(1), add(2));
        let stream = watched.open_stream();
        tokio::time::advance(KEEP_UNWATCHED).await;
        maps.evict_unwatched();
        assert!(maps.get(watched.concert).is_some() && maps.get(held.concert).is_none());
        drop(stream);
        tokio::time::advance(KEEP_UNWATCHED).await;
        maps.evict_unwatched();
        assert!(maps.get(watched.concert).is_none());
    }

    #[tokio::test]
    async fn a_seat_map_is_reloaded_once_at_a_time() {
        let seat_map = Arc::new(WatchedSeatMap::new(ConcertId(Uuid::nil())));
        let reload = seat_map.begin_reload();
        assert!(reload.is_some() && seat_map.begin_reload().is_none());
        drop(reload);
        assert!(seat_map.begin_reload().is_some());
    }
}
