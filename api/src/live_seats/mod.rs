//! Seat maps that somebody watches.
//!
//! The workers' announcements tell at once which seats were sold. They are hints: whether one was lost is seen by the
//! counters of the concert's tiers, which move in the same transaction as the seats, so one cheap query for all that is
//! watched tells whether a hall here is as full as it is in the database. If not, that hall is read anew.

mod hall;

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

use self::hall::{Hall, Watch};
pub use self::hall::{SeatsChange, SeatsEvent, SeatsSnapshot};
use crate::catalogue::{SeatsVersion, concert_exists};

/// How often those who watch are told what has changed, however many bookings are settled in between.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// How often the halls are compared with the database. A lost announcement is noticed in the second comparison after the
/// commit, and made good within about a second of it.
const COMPARE_EVERY: Duration = Duration::from_millis(350);

/// How long a hall may live on announcements whose sum is right.
const READ_AT_LEAST_EVERY: Duration = Duration::from_secs(30);

/// How long a hall that nobody watches is kept, for a client that comes back.
const KEEP: Duration = Duration::from_secs(30);

const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

/// The halls that are watched on this instance.
#[derive(Clone)]
pub struct LiveSeats {
    database: Database,
    halls: Arc<Mutex<HashMap<Uuid, Arc<LiveHall>>>>,
}

struct LiveHall {
    concert: Uuid,
    /// Whether there is such a concert, once it has been read.
    exists: OnceCell<bool>,
    state: Mutex<State>,
}

struct State {
    hall: Hall,
    /// The version of the seats that was read last.
    read: Option<String>,
    read_at: Instant,
    /// The version of the seats at which as many were free here as there.
    agreed: Option<String>,
    /// Whether more were free here than there, when they were compared last.
    had_more: bool,
    watched_at: Instant,
}

impl LiveSeats {
    pub fn new(database: Database) -> Self {
        Self { database, halls: Arc::default() }
    }

    /// These have been settled: their seats are taken.
    pub fn hear(&self, settled: &[RawSettledTicket]) {
        let halls = self.halls().clone();
        if halls.is_empty() {
            return;
        }
        let mut unreadable = 0;
        for ticket in settled {
            match ticket.sold() {
                Ok(Some(SoldSeats { concerts, seats })) => {
                    for hall in concerts.iter().filter_map(|concert| halls.get(&concert.0)) {
                        hall.state().hall.book(&seats);
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
    pub async fn watch(
        &self,
        concert: Uuid,
        last_event_id: Option<&str>,
    ) -> Result<Option<impl Stream<Item = Arc<SeatsEvent>> + use<>>, sqlx::Error> {
        let hall = self.halls().entry(concert).or_insert_with(|| Arc::new(LiveHall::new(concert))).clone();
        // In a task of its own: the client that triggered it may hang up while others wait for the result.
        let loading = spawn(self.clone().load(hall.clone()));
        let loaded = timeout(QUERY_TIMEOUT, loading).await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        if !loaded.map_err(|_| sqlx::Error::WorkerCrashed)?? {
            return Ok(None);
        }
        let Some(watch) = hall.state().hall.join(last_event_id) else { return Ok(None) };
        Ok(Some(stream::unfold((hall, watch), |(hall, mut watch)| async {
            if let Some(first) = watch.first.take() {
                return Some((first, (hall, watch)));
            }
            match watch.events.recv().await {
                Ok(event) => Some((event, (hall, watch))),
                // The client is slow: from here on with all of it again.
                Err(RecvError::Lagged(_)) => {
                    let Watch { first, events } = hall.state().hall.join(None)?;
                    Some((first?, (hall, Watch { first: None, events })))
                }
                Err(RecvError::Closed) => None,
            }
        })))
    }

    /// Reads the seats of the concert once, however many requests wait for them. The state of a concert that does not exist, or
    /// cannot be read, is dropped. Returns whether the concert exists.
    async fn load(self, hall: Arc<LiveHall>) -> Result<bool, sqlx::Error> {
        let exists = hall.exists.get_or_try_init(|| hall.read(&self.database)).await.copied();
        if !matches!(exists, Ok(true)) {
            self.forget(&hall);
        }
        exists
    }

    /// Keeps the halls up to date and tells those who watch, until `stop` is cancelled.
    pub async fn keep_up(self, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = self.tell() => {}
            () = self.compare() => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    async fn tell(&self) {
        let mut ticks = interval(TELL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for hall in self.all() {
                hall.state().hall.tell();
            }
        }
    }

    async fn compare(&self) {
        let mut ticks = interval(COMPARE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.forget_unwatched();
            if self.halls().is_empty() {
                continue;
            }
            if let Err(error) = self.compare_once().await {
                warn!("cannot compare the seat maps with the database: {error}");
            }
        }
    }

    fn forget_unwatched(&self) {
        self.halls().retain(|_, hall| {
            let mut state = hall.state();
            // Somebody may be about to join it.
            if state.hall.is_watched() || Arc::strong_count(hall) > 1 {
                state.watched_at = Instant::now();
            }
            state.watched_at.elapsed() < KEEP
        });
    }

    async fn compare_once(&self) -> Result<(), sqlx::Error> {
        let halls: Vec<_> = self.all().into_iter().filter(|hall| hall.exists.initialized()).collect();
        let concerts: Vec<Uuid> = halls.iter().map(|hall| hall.concert).collect();
        let free_before: Vec<usize> = halls.iter().map(|hall| hall.state().hall.available()).collect();
        let reading = self.database.query(move |connection| {
            let concerts = concerts.clone();
            Box::pin(async move { SeatsVersion::of(connection, &concerts).await })
        });
        let versions = in_time(reading).await?;
        for (hall, free_before) in halls.iter().zip(free_before) {
            let version = versions.get(&hall.concert).cloned().unwrap_or_default();
            let is_behind = hall.state().is_behind(version, free_before, Instant::now());
            if !is_behind {
                continue;
            }
            match in_time(hall.read(&self.database)).await {
                Ok(true) => {}
                Ok(false) => self.forget(hall),
                // The others get their turn, and this one another.
                Err(error) => {
                    let concert = hall.concert;
                    warn!(concert.id = %concert, "cannot read the seats of concert {concert}: {error}");
                    hall.state().hall.give_up_reading();
                }
            }
        }
        Ok(())
    }

    /// The hall is no more. Those who still watch it are told that their streams have ended.
    fn forget(&self, hall: &Arc<LiveHall>) {
        let mut halls = self.halls();
        if halls.get(&hall.concert).is_some_and(|known| Arc::ptr_eq(known, hall)) {
            halls.remove(&hall.concert);
        }
        hall.state().hall.close();
    }

    fn all(&self) -> Vec<Arc<LiveHall>> {
        self.halls().values().cloned().collect()
    }

    fn halls(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<LiveHall>>> {
        self.halls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveHall {
    fn new(concert: Uuid) -> Self {
        let state = State {
            hall: Hall::new(rand::random()),
            read: None,
            read_at: Instant::now(),
            agreed: None,
            had_more: false,
            watched_at: Instant::now(),
        };
        Self { concert, exists: OnceCell::new(), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the whole hall. Returns whether there is such a concert.
    async fn read(&self, database: &Database) -> Result<bool, sqlx::Error> {
        self.state().hall.begin_reading();
        let read_at = Instant::now();
        let concert = self.concert;
        let read = database.query_large(move |connection| Box::pin(read_seats(connection, concert)));
        let SeatsRead { exists, version, seats } = read.await?;
        let mut state = self.state();
        state.hall.read(seats);
        state.hall.tell();
        state.read = Some(version.tag);
        state.read_at = read_at;
        state.had_more = false;
        Ok(exists)
    }
}

/// The seats of a concert, as they are in the database.
struct SeatsRead {
    exists: bool,
    version: SeatsVersion,
    /// Whether each is booked.
    seats: HashMap<SeatId, bool>,
}

async fn read_seats(connection: &mut PgConnection, concert: Uuid) -> Result<SeatsRead, sqlx::Error> {
    // First the version: should a sale come in between, the seats are newer than they are said to be, and that is
    // noticed in the next comparison.
    let version = SeatsVersion::of_one(connection, concert).await?;
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
    fn is_behind(&mut self, version: SeatsVersion, free_before: usize, now: Instant) -> bool {
        if self.read.as_ref() == Some(&version.tag) {
            self.had_more = false;
            return false;
        }
        let is_old = now.duration_since(self.read_at) > READ_AT_LEAST_EVERY;
        if self.agreed.as_ref() == Some(&version.tag) {
            self.had_more = false;
            return is_old;
        }
        let free = self.hall.available();
        let has_more = free > version.available;
        let is_lost = has_more && self.had_more;
        self.had_more = has_more;
        if free == version.available {
            self.agreed = Some(version.tag);
        }
        is_lost || version.available > free_before || is_old
    }
}

async fn in_time<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    timeout(QUERY_TIMEOUT, query).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(free: i32) -> State {
        let hall = LiveHall::new(Uuid::nil());
        let mut state = hall.state.into_inner().unwrap();
        state.hall.begin_reading();
        state.hall.read((0..free).map(|seat| (SeatId(seat), false)).collect());
        state.read = Some("0".to_owned());
        state
    }

    fn version(tag: &str, available: usize) -> SeatsVersion {
        SeatsVersion { tag: tag.to_owned(), available }
    }

    #[test]
    fn an_announcement_that_is_lost_in_a_rush_is_noticed_in_the_second_comparison() {
        let mut state = state(100);
        assert!(!state.is_behind(version("0", 100), 100, Instant::now()));
        // One sale was not announced. The next ones are, before the second comparison.
        assert!(!state.is_behind(version("1", 99), 100, Instant::now()));
        state.hall.book(&(0..30).map(SeatId).collect::<Vec<_>>());
        assert!(state.is_behind(version("2", 69), 70, Instant::now()));
    }

    #[test]
    fn an_announcement_that_is_late_is_none_that_was_lost() {
        let mut state = state(100);
        assert!(!state.is_behind(version("1", 99), 100, Instant::now()));
        state.hall.book(&[SeatId(0)]);
        assert!(!state.is_behind(version("1", 99), 99, Instant::now()));
        // Nor one that comes while the database answers.
        state.hall.book(&[SeatId(1)]);
        assert!(!state.is_behind(version("1", 99), 99, Instant::now()));
    }

    #[test]
    fn seats_that_were_added_are_noticed_at_once() {
        assert!(state(100).is_behind(version("1", 105), 100, Instant::now()));
    }

    #[test]
    fn a_hall_lives_on_announcements_for_so_long_and_no_longer() {
        let mut state = state(100);
        state.hall.book(&[SeatId(0)]);
        assert!(!state.is_behind(version("1", 99), 99, Instant::now()));
        let later = Instant::now() + READ_AT_LEAST_EVERY + Duration::from_secs(1);
        assert!(state.is_behind(version("1", 99), 99, later));
    }
}
