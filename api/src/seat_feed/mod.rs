//! Seat maps that clients watch or ask for.
//!
//! All clients of an instance share one seat map per concert in memory. The workers' announcements update it at once. An
//! announcement may be lost, so three times a second one query reads the versions of all watched seat maps and their
//! numbers of available seats, which change in the same transaction as the seats. A seat map that has missed a change is
//! reloaded: the seats that were written since the previous read are read again.

mod booked_seats;
mod events;
pub mod layout_version;
mod reconciliation;
mod seat_map_state;
pub mod seat_table;
mod stored_seats;
pub mod version;
mod watched_seat_map;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, Stream};
use hamro_shared::database::Database;
use hamro_shared::domain::ConcertId;
use hamro_shared::queue::{FreedSeat, RawSettledTicket, SoldSeats};
use hamro_shared::telemetry::metrics::{Counter, MetricsRegistry};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub use self::events::{SeatsChange, SeatsEvent, SeatsSnapshot};
use self::seat_map_state::Subscription;
use self::version::SeatMapVersion;
use self::watched_seat_map::SeatReader;
pub use self::watched_seat_map::{SeatStatus, WatchedSeatMap};
use crate::http::own_writes::OwnWrites;

/// How often changes are sent to clients, however many bookings are settled in between.
const BROADCAST_EVERY: Duration = Duration::from_millis(100);

/// How often the seat maps are compared with the database. The second comparison after a commit detects that its
/// announcement was lost, so clients see the sale about a second after it.
const RECONCILE_EVERY: Duration = Duration::from_millis(350);

/// How long an unwatched seat map is kept, for clients that reconnect.
const KEEP_UNWATCHED: Duration = Duration::from_secs(30);

/// How many seat maps may be loaded at the same time. A load goes on when its client hangs up, so the number of
/// connections does not bound them.
const LOADS_MAX: usize = 1_000;

const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a comparison of a seat map with the database is good for.
const VERIFIED_FOR: Duration = Duration::from_secs(1);

/// How long a seat map is used that cannot be compared with the database.
const UNVERIFIED_MAX: Duration = Duration::from_mins(1);

/// How much memory the seats of all concerts take, unless more are being watched: those of 2 700 000 seats.
const BYTES_MAX: usize = 144 * 1024 * 1024;

/// How many seat maps are reloaded at the same time.
const RELOADS_AT_ONCE: usize = 4;

/// The seat maps that are watched on this instance.
#[derive(Clone)]
pub struct SeatFeed {
    reader: Arc<SeatReader>,
    /// Notified after each comparison with the database.
    compared: Arc<Notify>,
    loads: Arc<Semaphore>,
    seat_maps: Arc<Mutex<HashMap<ConcertId, Arc<WatchedSeatMap>>>>,
    own_writes: OwnWrites,
    /// Announced outcomes that could not be read.
    unreadable: Counter,
}

/// What a document about the seats must contain to be current.
#[derive(Clone, Copy)]
pub struct Needed {
    /// It is current if its seats were read at this time or later.
    pub since: Instant,
    /// If they were read before this time, it may lack what this instance wrote itself.
    pub own_writes_since: Option<Instant>,
}

impl Needed {
    /// Whether what was read at this time contains what this instance wrote itself.
    pub fn has_own_writes(self, read_at: Instant) -> bool {
        self.own_writes_since.is_none_or(|written_at| read_at >= written_at)
    }
}

/// Why a concert's seats cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum SeatFeedError {
    #[error("there is no such concert")]
    ConcertNotFound,
    #[error("the database did not respond within {LOAD_TIMEOUT:?}")]
    TimedOut,
    #[error("too many seat maps are being loaded")]
    TooManyLoads,
    #[error("the seat map has not been compared with the database for {UNVERIFIED_MAX:?}")]
    Unverified,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Loading panicked, or the process is stopping.
    #[error("loading the seats was aborted: {0}")]
    Aborted(#[from] JoinError),
}

impl SeatFeed {
    pub fn new(database: Database, own_writes: OwnWrites) -> Self {
        Self {
            reader: Arc::new(SeatReader::new(database)),
            compared: Arc::default(),
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
            seat_maps: Arc::default(),
            own_writes,
            unreadable: Counter::default(),
        }
    }

    /// The events of a concert's seats, starting after `last_event_id`, or with a snapshot.
    pub async fn subscribe(
        &self,
        concert: ConcertId,
        last_event_id: Option<&str>,
    ) -> Result<impl Stream<Item = Arc<SeatsEvent>> + use<>, SeatFeedError> {
        let seat_map = self.watch(concert).await?;
        let subscription = seat_map.subscribe(last_event_id).ok_or(SeatFeedError::ConcertNotFound)?;
        Ok(stream::unfold((seat_map, subscription), next_event))
    }

    /// The seat map of a concert, which is kept up to date while it is used, and for half a minute.
    pub async fn watch(&self, concert: ConcertId) -> Result<Arc<WatchedSeatMap>, SeatFeedError> {
        let loaded = self.seat_maps().get(&concert).filter(|seat_map| seat_map.is_loaded()).cloned();
        let seat_map = match loaded {
            Some(seat_map) => seat_map,
            None => self.load(concert).await?,
        };
        seat_map.record_use();
        Ok(seat_map)
    }

    /// Waits until a seat map has been compared with the database within the last second. If the database does not respond,
    /// returns how long ago the last comparison was, or an error if that is too long.
    pub async fn verify(&self, seat_map: &WatchedSeatMap) -> Result<Option<Duration>, SeatFeedError> {
        let deadline = Instant::now() + VERIFIED_FOR;
        loop {
            let compared = self.compared.notified();
            match seat_map.verified() {
                (age, _) if age <= VERIFIED_FOR => return Ok(None),
                (age, true) => return Self::unverified(age),
                (age, false) => {
                    if tokio::time::timeout_at(deadline, compared).await.is_err() {
                        return Self::unverified(age);
                    }
                }
            }
        }
    }

    fn unverified(age: Duration) -> Result<Option<Duration>, SeatFeedError> {
        if age > UNVERIFIED_MAX { Err(SeatFeedError::Unverified) } else { Ok(Some(age)) }
    }

    /// Reads what has changed of the seats, unless a read has begun at `since` or later.
    pub async fn read(&self, seat_map: &Arc<WatchedSeatMap>, since: Instant) -> Result<(), SeatFeedError> {
        if within_timeout(seat_map.read(&self.reader, since)).await? {
            return Ok(());
        }
        self.remove(seat_map);
        Err(SeatFeedError::ConcertNotFound)
    }

    /// What a document about the seats must contain now.
    pub fn needed(&self, seat_map: &WatchedSeatMap) -> Needed {
        let changed_at = seat_map.changed_at();
        match self.own_writes.last() {
            Some(written_at) => {
                Needed { since: changed_at.max(written_at), own_writes_since: Some(written_at) }
            }
            None => Needed { since: changed_at, own_writes_since: None },
        }
    }

    /// Adds the seat map of a concert and loads it, unless another request does so already.
    async fn load(&self, concert: ConcertId) -> Result<Arc<WatchedSeatMap>, SeatFeedError> {
        let (seat_map, permit) = self.find_or_add(concert)?;
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

    /// The seat map of a concert, and a permit if it is new.
    fn find_or_add(
        &self,
        concert: ConcertId,
    ) -> Result<(Arc<WatchedSeatMap>, Option<OwnedSemaphorePermit>), SeatFeedError> {
        let mut seat_maps = self.seat_maps();
        if let Some(seat_map) = seat_maps.get(&concert) {
            return Ok((seat_map.clone(), None));
        }
        let permit = self.loads.clone().try_acquire_owned().map_err(|_| SeatFeedError::TooManyLoads)?;
        let seat_map = Arc::new(WatchedSeatMap::new(concert));
        seat_maps.insert(concert, seat_map.clone());
        Ok((seat_map, Some(permit)))
    }

    /// Exports how many seat maps are watched, and how many announced outcomes could not be read.
    #[expect(clippy::cast_precision_loss, reason = "metrics")]
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let seat_feed = self.clone();
        registry.read_gauge(
            "seat_feed_watched_maps",
            "Seat maps that clients watch or ask for, or did so in the last half minute",
            move || Some(seat_feed.seat_maps().len() as f64),
        );
        let seat_feed = self.clone();
        registry.read_gauge("seat_feed_bytes", "Memory of the seats of watched maps, in bytes", move || {
            Some(seat_feed.all().iter().map(|seat_map| seat_map.bytes()).sum::<usize>() as f64)
        });
        let unreadable = self.unreadable.clone();
        registry.read_counter(
            "seat_feed_unreadable_outcomes",
            "Announced outcomes that could not be read. Watched seat maps are then reloaded",
            move || Some(unreadable.get() as f64),
        );
    }

    /// Applies announced sales to the watched seat maps.
    pub fn on_settled(&self, announced: &[RawSettledTicket]) {
        let seat_maps = self.seat_maps().clone();
        if seat_maps.is_empty() {
            return;
        }
        let mut unreadable = 0;
        for ticket in announced {
            match ticket.sold() {
                Ok(Some(SoldSeats { concerts, seats })) => {
                    for seat_map in concerts.iter().filter_map(|concert| seat_maps.get(concert)) {
                        seat_map.mark_sold(&seats);
                    }
                }
                Ok(None) => {}
                Err(_) => unreadable += 1,
            }
        }
        if unreadable > 0 {
            self.unreadable.inc_by(unreadable);
            warn!("cannot read {unreadable} announced outcomes; affected seat maps will be reloaded");
        }
    }

    /// Applies an announced release to the watched seat maps.
    pub fn on_released(&self, freed: &[FreedSeat]) {
        let seat_maps = self.seat_maps();
        for FreedSeat { concert_id, seat_id } in freed {
            if let Some(seat_map) = seat_maps.get(concert_id) {
                seat_map.mark_freed(&[*seat_id]);
            }
        }
    }

    /// Reloads all seat maps: the database was restored, and equal numbers do not mean equal seats.
    pub async fn reload_all(&self) {
        for seat_map in self.all() {
            if seat_map.is_loaded() {
                seat_map.forget_stored();
                self.clone().reload(seat_map).await;
            }
        }
    }

    /// Keeps the seat maps up to date and broadcasts their changes, until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = self.keep_broadcasting() => {}
            () = self.keep_reconciling() => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    async fn keep_broadcasting(&self) {
        let mut ticks = interval(BROADCAST_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for seat_map in self.all() {
                seat_map.broadcast_changes();
            }
        }
    }

    async fn keep_reconciling(&self) {
        let mut ticks = interval(RECONCILE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.evict_unwatched();
            let mut seat_maps = self.all();
            seat_maps.retain(|seat_map| seat_map.is_loaded());
            if seat_maps.is_empty() {
                continue;
            }
            if let Err(error) = self.reconcile(&seat_maps).await {
                warn!("cannot compare the seat maps with the database: {error}");
                for seat_map in &seat_maps {
                    seat_map.record_failure();
                }
            }
            self.compared.notify_waiters();
        }
    }

    /// Compares the seat maps with the database, and reloads those that have missed a change.
    async fn reconcile(&self, seat_maps: &[Arc<WatchedSeatMap>]) -> Result<(), SeatFeedError> {
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
            if seat_map.needs_reload(version, available_before, compared_at) {
                outdated.push(seat_map.clone());
            }
        }
        for some in outdated.chunks(RELOADS_AT_ONCE) {
            let reloads = some.iter().cloned().map(|seat_map| self.clone().reload(seat_map));
            join_all(reloads).await;
        }
        Ok(())
    }

    /// Reloads a seat map. If this fails, the next comparison tries again.
    async fn reload(self, seat_map: Arc<WatchedSeatMap>) {
        match self.read(&seat_map, Instant::now()).await {
            Ok(()) | Err(SeatFeedError::ConcertNotFound) => {}
            Err(error) => {
                let concert = seat_map.concert;
                warn!(concert.id = %concert, "cannot read the seats of concert {concert}: {error}");
                seat_map.record_failure();
            }
        }
    }

    /// Loads a seat map that was just added, or removes it if its concert does not exist or cannot be read.
    async fn ensure_loaded(self, seat_map: Arc<WatchedSeatMap>) -> Result<(), SeatFeedError> {
        let result = match seat_map.ensure_loaded(&self.reader).await {
            Ok(true) => return Ok(()),
            Ok(false) => Err(SeatFeedError::ConcertNotFound),
            Err(error) => Err(error.into()),
        };
        self.remove(&seat_map);
        result
    }

    /// Forgets the seat maps that nobody uses any more, and if they take too much memory, also those that were used longest
    /// ago. One with an open stream stays.
    fn evict_unwatched(&self) {
        let mut seat_maps = self.seat_maps();
        seat_maps.retain(|_, seat_map| {
            // Each open stream, and each request that is about to open one, holds a reference.
            if Arc::strong_count(seat_map) > 1 {
                seat_map.record_use();
            }
            seat_map.unused_for() < KEEP_UNWATCHED
        });
        evict_oldest(&mut seat_maps, BYTES_MAX, WatchedSeatMap::bytes);
    }

    /// Removes a seat map and ends the streams of its subscribers.
    fn remove(&self, seat_map: &Arc<WatchedSeatMap>) {
        let mut seat_maps = self.seat_maps();
        if seat_maps.get(&seat_map.concert).is_some_and(|current| Arc::ptr_eq(current, seat_map)) {
            seat_maps.remove(&seat_map.concert);
        }
        seat_map.close();
    }

    fn all(&self) -> Vec<Arc<WatchedSeatMap>> {
        self.seat_maps().values().cloned().collect()
    }

    fn seat_maps(&self) -> MutexGuard<'_, HashMap<ConcertId, Arc<WatchedSeatMap>>> {
        self.seat_maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets seat maps without streams until the others fit, first the ones that were used longest ago.
fn evict_oldest(
    seat_maps: &mut HashMap<ConcertId, Arc<WatchedSeatMap>>,
    bytes_max: usize,
    bytes_of: impl Fn(&WatchedSeatMap) -> usize,
) {
    let mut bytes: usize = seat_maps.values().map(|seat_map| bytes_of(seat_map)).sum();
    while bytes > bytes_max {
        let unwatched = seat_maps.values().filter(|seat_map| Arc::strong_count(seat_map) == 1);
        let Some(oldest) = unwatched.max_by_key(|seat_map| seat_map.unused_for()) else { break };
        let (concert, freed) = (oldest.concert, bytes_of(oldest));
        seat_maps.remove(&concert);
        bytes -= freed;
    }
}

type Subscriber = (Arc<WatchedSeatMap>, Subscription);

async fn next_event((seat_map, mut subscription): Subscriber) -> Option<(Arc<SeatsEvent>, Subscriber)> {
    let event = match subscription.first.take() {
        Some(first) => first,
        None => match subscription.events.recv().await {
            Ok(event) => event,
            // The client is slow and has missed events: it gets a new snapshot.
            Err(RecvError::Lagged(_)) => {
                subscription = seat_map.subscribe(None)?;
                subscription.first.take()?
            }
            Err(RecvError::Closed) => return None,
        },
    };
    Some((event, (seat_map, subscription)))
}

async fn within_timeout<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, SeatFeedError> {
    Ok(timeout(LOAD_TIMEOUT, query).await.map_err(|_| SeatFeedError::TimedOut)??)
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

    #[test]
    fn a_seat_map_that_cannot_be_verified_is_used_for_a_minute() {
        let minute = Duration::from_mins(1);
        assert!(matches!(SeatFeed::unverified(minute), Ok(Some(age)) if age == minute));
        assert!(matches!(SeatFeed::unverified(minute + VERIFIED_FOR), Err(SeatFeedError::Unverified)));
    }
}
