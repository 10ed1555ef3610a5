//! Seat maps that somebody watches.
//!
//! The workers' announcements tell at once which seats were sold. They are hints: whether one was lost is seen by the
//! counters of the concert's tiers, which move in the same transaction as the seats, so one cheap query for all that is
//! watched tells whether a hall here is as full as it is in the database. If not, that hall is read anew.

mod seat_map_state;
pub mod version;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, Stream};
use hamro_shared::database::Database;
use hamro_shared::domain::SeatId;
use hamro_shared::queue::{RawSettledTicket, SoldSeats};
use sqlx::postgres::PgConnection;
use tokio::sync::OnceCell;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use self::seat_map_state::{SeatMapState, Subscription};
pub use self::seat_map_state::{SeatsChange, SeatsEvent, SeatsSnapshot};
use self::version::{SeatMapVersion, concert_exists};

/// How often those who watch are told what has changed, however many bookings are settled in between.
const BROADCAST_EVERY: Duration = Duration::from_millis(100);

/// How often the halls are compared with the database. A lost announcement is noticed in the second comparison after the
/// commit, and made good within about a second of it.
const COMPARE_EVERY: Duration = Duration::from_millis(350);

/// How long a hall may live on announcements whose sum is right.
const RELOAD_AFTER: Duration = Duration::from_secs(30);

/// How long a hall that nobody watches is kept, for a client that comes back.
const KEEP: Duration = Duration::from_secs(30);

const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The halls that are watched on this instance.
#[derive(Clone)]
pub struct SeatFeed {
    database: Database,
    seat_maps: Arc<Mutex<HashMap<Uuid, Arc<WatchedSeatMap>>>>,
}

struct WatchedSeatMap {
    concert: Uuid,
    /// Whether there is such a concert, once it has been read.
    exists: OnceCell<bool>,
    state: Mutex<State>,
}

struct State {
    seat_map: SeatMapState,
    /// The version of the seats that was read last.
    read: Option<String>,
    read_at: Instant,
    /// The version of the seats at which as many were free here as there.
    verified_version: Option<String>,
    /// Whether more were free here than there, when they were compared last.
    was_ahead: bool,
    watched_at: Instant,
}

impl SeatFeed {
    pub fn new(database: Database) -> Self {
        Self { database, seat_maps: Arc::default() }
    }

    /// These have been settled: their seats are taken.
    pub fn on_settled(&self, settled: &[RawSettledTicket]) {
        let seat_maps = self.seat_maps().clone();
        if seat_maps.is_empty() {
            return;
        }
        let mut unreadable = 0;
        for ticket in settled {
            match ticket.sold() {
                Ok(Some(SoldSeats { concerts, seats })) => {
                    for seat_map in concerts.iter().filter_map(|concert| seat_maps.get(&concert.0)) {
                        seat_map.state().seat_map.mark_sold(&seats);
                    }
                }
                Ok(None) => {}
                Err(_) => unreadable += 1,
            }
        }
        if unreadable > 0 {
            // Their seats show in the counters.
            warn!("cannot read {unreadable} announced outcomes");
        }
    }

    /// The events of a concert's seats, from the one after `last_event_id` on; `None` if there is no such concert.
    pub async fn subscribe(
        &self,
        concert: Uuid,
        last_event_id: Option<&str>,
    ) -> Result<Option<impl Stream<Item = Arc<SeatsEvent>> + use<>>, sqlx::Error> {
        let seat_map =
            self.seat_maps().entry(concert).or_insert_with(|| Arc::new(WatchedSeatMap::new(concert))).clone();
        // In a task of its own: the client that triggered it may hang up while others wait for the result.
        let loading = spawn(self.clone().load(seat_map.clone()));
        let loaded = timeout(QUERY_TIMEOUT, loading).await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        if !loaded.map_err(|_| sqlx::Error::WorkerCrashed)?? {
            return Ok(None);
        }
        let Some(subscribe) = seat_map.state().seat_map.subscribe(last_event_id) else { return Ok(None) };
        Ok(Some(stream::unfold((seat_map, subscribe), |(seat_map, mut subscribe)| async {
            if let Some(first) = subscribe.first.take() {
                return Some((first, (seat_map, subscribe)));
            }
            match subscribe.events.recv().await {
                Ok(event) => Some((event, (seat_map, subscribe))),
                // The client is slow: from here on with all of it again.
                Err(RecvError::Lagged(_)) => {
                    let Subscription { first, events } = seat_map.state().seat_map.subscribe(None)?;
                    Some((first?, (seat_map, Subscription { first: None, events })))
                }
                Err(RecvError::Closed) => None,
            }
        })))
    }

    /// Reads the seats of the concert once, however many requests wait for them. The state of a concert that does not exist, or
    /// cannot be read, is dropped. Returns whether the concert exists.
    async fn load(self, seat_map: Arc<WatchedSeatMap>) -> Result<bool, sqlx::Error> {
        let exists = seat_map.exists.get_or_try_init(|| seat_map.read(&self.database)).await.copied();
        if !matches!(exists, Ok(true)) {
            self.remove(&seat_map);
        }
        exists
    }

    /// Keeps the halls up to date and tells those who watch, until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = self.broadcast_changes() => {}
            () = self.compare() => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    async fn broadcast_changes(&self) {
        let mut ticks = interval(BROADCAST_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for seat_map in self.all() {
                seat_map.state().seat_map.broadcast_changes();
            }
        }
    }

    async fn compare(&self) {
        let mut ticks = interval(COMPARE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.remove_unwatched();
            if self.seat_maps().is_empty() {
                continue;
            }
            if let Err(error) = self.compare_once().await {
                warn!("cannot compare the seat maps with the database: {error}");
            }
        }
    }

    fn remove_unwatched(&self) {
        self.seat_maps().retain(|_, seat_map| {
            let mut state = seat_map.state();
            // Somebody may be about to join it.
            if state.seat_map.is_watched() || Arc::strong_count(seat_map) > 1 {
                state.watched_at = Instant::now();
            }
            state.watched_at.elapsed() < KEEP
        });
    }

    async fn compare_once(&self) -> Result<(), sqlx::Error> {
        let seat_maps: Vec<_> =
            self.all().into_iter().filter(|seat_map| seat_map.exists.initialized()).collect();
        let concerts: Vec<Uuid> = seat_maps.iter().map(|seat_map| seat_map.concert).collect();
        let free_before: Vec<usize> =
            seat_maps.iter().map(|seat_map| seat_map.state().seat_map.available()).collect();
        let reading = self.database.query(move |connection| {
            let concerts = concerts.clone();
            Box::pin(async move { SeatMapVersion::of(connection, &concerts).await })
        });
        let versions = within_timeout(reading).await?;
        for (seat_map, free_before) in seat_maps.iter().zip(free_before) {
            let version = versions.get(&seat_map.concert).cloned().unwrap_or_default();
            let needs_reload = seat_map.state().needs_reload(version, free_before, Instant::now());
            if !needs_reload {
                continue;
            }
            match within_timeout(seat_map.read(&self.database)).await {
                Ok(true) => {}
                Ok(false) => self.remove(seat_map),
                // The others get their turn, and this one another.
                Err(error) => {
                    let concert = seat_map.concert;
                    warn!(concert.id = %concert, "cannot read the seats of concert {concert}: {error}");
                    seat_map.state().seat_map.abort_reload();
                }
            }
        }
        Ok(())
    }

    /// The hall is no more. Those who still watch it are told that their streams have ended.
    fn remove(&self, seat_map: &Arc<WatchedSeatMap>) {
        let mut seat_maps = self.seat_maps();
        if seat_maps.get(&seat_map.concert).is_some_and(|known| Arc::ptr_eq(known, seat_map)) {
            seat_maps.remove(&seat_map.concert);
        }
        seat_map.state().seat_map.close();
    }

    fn all(&self) -> Vec<Arc<WatchedSeatMap>> {
        self.seat_maps().values().cloned().collect()
    }

    fn seat_maps(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<WatchedSeatMap>>> {
        self.seat_maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchedSeatMap {
    fn new(concert: Uuid) -> Self {
        let state = State {
            seat_map: SeatMapState::new(rand::random()),
            read: None,
            read_at: Instant::now(),
            verified_version: None,
            was_ahead: false,
            watched_at: Instant::now(),
        };
        Self { concert, exists: OnceCell::new(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the whole hall. Returns whether there is such a concert.
    async fn read(&self, database: &Database) -> Result<bool, sqlx::Error> {
        self.state().seat_map.begin_reload();
        let read_at = Instant::now();
        let concert = self.concert;
        let read = database.query_large(move |connection| Box::pin(read_seats(connection, concert)));
        let SeatsRead { exists, version, seats } = read.await?;
        let mut state = self.state();
        state.seat_map.apply_reload(seats);
        state.seat_map.broadcast_changes();
        state.read = Some(version.tag);
        state.read_at = read_at;
        state.was_ahead = false;
        Ok(exists)
    }
}

/// The seats of a concert, as they are in the database.
struct SeatsRead {
    exists: bool,
    version: SeatMapVersion,
    /// Whether each is booked.
    seats: HashMap<SeatId, bool>,
}

async fn read_seats(connection: &mut PgConnection, concert: Uuid) -> Result<SeatsRead, sqlx::Error> {
    // First the version: should a sale come in between, the seats are newer than they are said to be, and that is
    // noticed in the next comparison.
    let version = SeatMapVersion::of_one(connection, concert).await?;
    let seats = sqlx::query!(
        r#"SELECT id, booked_at IS NOT NULL AS "is_booked!" FROM seats WHERE concert_id = $1"#,
        concert
    )
    .fetch_all(&mut *connection)
    .await?;
    let exists = !seats.is_empty() || concert_exists(connection, concert).await?;
    let seats = seats.into_iter().map(|seat| (SeatId(seat.id), seat.is_booked)).collect();
    Ok(SeatsRead { exists, version, seats })
}

impl State {
    /// Whether something has happened in the database that no announcement has told. `free_before` is how many seats were
    /// free here before the database was asked.
    ///
    /// A sale is announced after its commit, so for a moment fewer seats are free in the database than here. Twice in a row
    /// means that an announcement was lost, or, in a rush, that one was late twice; to read once too often does no harm. More
    /// seats than were free here before it was asked it has only if some were added or freed.
    fn needs_reload(&mut self, version: SeatMapVersion, free_before: usize, now: Instant) -> bool {
        if self.read.as_ref() == Some(&version.tag) {
            self.was_ahead = false;
            return false;
        }
        let is_old = now.duration_since(self.read_at) > RELOAD_AFTER;
        if self.verified_version.as_ref() == Some(&version.tag) {
            self.was_ahead = false;
            return is_old;
        }
        let free = self.seat_map.available();
        let has_more = free > version.available;
        let is_lost = has_more && self.was_ahead;
        self.was_ahead = has_more;
        if free == version.available {
            self.verified_version = Some(version.tag);
        }
        is_lost || version.available > free_before || is_old
    }
}

async fn within_timeout<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(QUERY_TIMEOUT, query).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(free: i32) -> State {
        let seat_map = WatchedSeatMap::new(Uuid::nil());
        let mut state = seat_map.state.into_inner().unwrap();
        state.seat_map.begin_reload();
        state.seat_map.apply_reload((0..free).map(|seat| (SeatId(seat), false)).collect());
        state.read = Some("0".to_owned());
        state
    }

    fn version(tag: &str, available: usize) -> SeatMapVersion {
        SeatMapVersion { tag: tag.to_owned(), available }
    }

    #[test]
    fn an_announcement_that_is_lost_in_a_rush_is_noticed_in_the_second_comparison() {
        let mut state = state(100);
        assert!(!state.needs_reload(version("0", 100), 100, Instant::now()));
        // One sale was not announced. The next ones are, before the second comparison.
        assert!(!state.needs_reload(version("1", 99), 100, Instant::now()));
        state.seat_map.mark_sold(&(0..30).map(SeatId).collect::<Vec<_>>());
        assert!(state.needs_reload(version("2", 69), 70, Instant::now()));
    }

    #[test]
    fn an_announcement_that_is_late_is_none_that_was_lost() {
        let mut state = state(100);
        assert!(!state.needs_reload(version("1", 99), 100, Instant::now()));
        state.seat_map.mark_sold(&[SeatId(0)]);
        assert!(!state.needs_reload(version("1", 99), 99, Instant::now()));
        // Nor one that comes while the database answers.
        state.seat_map.mark_sold(&[SeatId(1)]);
        assert!(!state.needs_reload(version("1", 99), 99, Instant::now()));
    }

    #[test]
    fn seats_that_were_added_are_noticed_at_once() {
        assert!(state(100).needs_reload(version("1", 105), 100, Instant::now()));
    }

    #[test]
    fn a_hall_lives_on_announcements_for_so_long_and_no_longer() {
        let mut state = state(100);
        state.seat_map.mark_sold(&[SeatId(0)]);
        assert!(!state.needs_reload(version("1", 99), 99, Instant::now()));
        let later = Instant::now() + RELOAD_AFTER + Duration::from_secs(1);
        assert!(state.needs_reload(version("1", 99), 99, later));
    }
}
