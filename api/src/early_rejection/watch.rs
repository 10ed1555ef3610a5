//! Keeps what is known about sold seats true, by one database session of its own.
//!
//! While bookings are requested, a round begins every 250 ms: concerts that are wanted and not known are loaded, then one query
//! compares all concerts in use with the database. A concert whose seats were freed is loaded again. While nobody books, the
//! session is only kept ready: in the first second of a rush, it could take too long to open one.
//!
//! What is known belongs to the session by which it was read. A new session may lead to another server, or to one that has lost
//! the latest commits, so everything is forgotten then.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::time::Duration;

use hamro_shared::database::{CHECK_AFTER, Session, Sessions, server_replaced, sold_seats};
use hamro_shared::domain::{ConcertId, SeatId};
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::concert::Concert;
use super::concerts::BYTES_MAX;
use super::failed_loads::FailedLoads;
use super::{EarlyRejection, stored};
use crate::boot_clock::since_boot;

/// The shortest time between the beginnings of two rounds.
const ROUND: Duration = Duration::from_millis(250);

/// How long loading may take in one round before the concerts that are known are compared, so that their leases do not end.
const LOAD_FOR: Duration = Duration::from_millis(250);

/// How long a piece of work may take before the session is given up.
const WORK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a query may take that takes milliseconds, unless the session is lost.
const QUERY_TIMEOUT: Duration = Duration::from_secs(3);

/// The pause after the database could not be used.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How often the session is checked while nobody books.
const KEEP_READY_EVERY: Duration = Duration::from_secs(30);

/// How long a seat is not looked up again that belongs to no concert.
const LOOK_UP_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How many seats that belong to no concert are remembered.
const WITHOUT_CONCERT_MAX: usize = 10_000;

/// Watches the concerts that are booked.
pub struct Watch {
    early_rejection: EarlyRejection,
    sessions: Sessions,
    session: Option<Session>,
    without_concert: HashMap<SeatId, Instant>,
    /// Of concerts that are too large, have just been changed, or were given up when the database failed.
    failed_loads: FailedLoads,
    is_failing: bool,
}

impl Watch {
    pub fn new(early_rejection: EarlyRejection, sessions: Sessions) -> Self {
        Self {
            early_rejection,
            sessions,
            session: None,
            without_concert: HashMap::new(),
            failed_loads: FailedLoads::default(),
            is_failing: false,
        }
    }

    /// Watches until `stop` is cancelled, once the schema is ready.
    pub async fn run(
        mut self,
        mut schema_ready: watch::Receiver<bool>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let watching = async {
            if self.early_rejection.0.is_on && schema_ready.wait_for(|is_ready| *is_ready).await.is_ok() {
                self.keep_watching().await;
            }
            pending::<()>().await;
        };
        stop.run_until_cancelled(watching).await;
        Ok(())
    }

    async fn keep_watching(&mut self) {
        // The first round only opens the session.
        let mut is_asked = false;
        loop {
            let began = Instant::now();
            let pause = match self.round(is_asked).await {
                Ok(()) => ROUND,
                Err(error) => {
                    self.report_failure(&error);
                    RETRY_AFTER
                }
            };
            sleep_until(began + pause).await;
            let idle = if self.session.is_some() { KEEP_READY_EVERY } else { Duration::ZERO };
            is_asked = timeout(idle, self.early_rejection.asked()).await.is_ok();
        }
    }

    fn report_failure(&mut self, error: &sqlx::Error) {
        // One line for each outage.
        if !self.is_failing {
            warn!("cannot read which seats are sold, so workers reject bookings of sold seats: {error}");
            self.is_failing = true;
        }
    }

    /// Does what bookings have asked for. If none have, only keeps a session ready.
    async fn round(&mut self, is_asked: bool) -> Result<(), sqlx::Error> {
        let mut session = self.usable_session(is_asked).await?;
        let result = if is_asked { self.work_on(&mut session).await } else { Ok(()) };
        self.failed_loads.end();
        if self.sessions.finish_use(&mut session, result.as_ref().err()) {
            self.session = Some(session);
        } else {
            self.forget();
        }
        if result.is_ok() && self.is_failing {
            info!("can read again which seats are sold");
            self.is_failing = false;
        }
        result
    }

    /// The session of the round before, or else a new one; then everything is forgotten.
    ///
    /// If there is work, the session is not checked first. The work shows whether it works; in a rush, a check could exceed its
    /// short time limit, and a new session would be slower still.
    async fn usable_session(&mut self, is_asked: bool) -> Result<Session, sqlx::Error> {
        let check_after = if is_asked { Duration::MAX } else { CHECK_AFTER };
        if let Some(mut session) = self.session.take()
            && self.sessions.check(&mut session, check_after).await
        {
            return Ok(session);
        }
        self.forget();
        self.sessions.open().await
    }

    fn forget(&mut self) {
        self.without_concert.clear();
        let forgotten = std::mem::take(&mut *self.early_rejection.concerts_mut());
        self.early_rejection.0.metrics.count_forgotten(forgotten.iter().count());
    }

    async fn work_on(&mut self, session: &mut Session) -> Result<(), sqlx::Error> {
        let replaced = self.sessions.replaced(session);
        let work = async {
            let connection = &mut session.connection;
            // First, because what is known is of use only while it is compared.
            self.compare(connection).await?;
            if self.load_wanted(connection).await? > 0 {
                self.compare(connection).await?;
            }
            Ok(())
        };
        tokio::select! {
            biased;
            result = within(WORK_TIMEOUT, work) => result,
            () = replaced => Err(server_replaced()),
        }
    }

    /// Loads concerts that are outdated or not known yet. Returns how many.
    async fn load_wanted(&mut self, connection: &mut PgConnection) -> Result<usize, sqlx::Error> {
        let began = Instant::now();
        let wanted = within(QUERY_TIMEOUT, self.wanted(connection)).await?;
        for (loaded, concert) in wanted.iter().enumerate() {
            if began.elapsed() >= LOAD_FOR {
                // The others follow in the next round.
                self.early_rejection.ask();
                return Ok(loaded);
            }
            self.load(connection, *concert).await?;
        }
        Ok(wanted.len())
    }

    /// The concerts to load: first those that were known, because they are booked the most.
    async fn wanted(&mut self, connection: &mut PgConnection) -> Result<Vec<ConcertId>, sqlx::Error> {
        let now = since_boot();
        let mut wanted: Vec<ConcertId> = {
            let concerts = self.early_rejection.concerts();
            let is_wanted = |concert: &&Concert| concert.should_load(now) && concert.is_used(now);
            concerts.iter().filter(is_wanted).map(|concert| concert.id).collect()
        };
        self.failed_loads.forget_old();
        wanted.retain(|concert| !self.failed_loads.must_wait(*concert));
        self.without_concert.retain(|_, since| since.elapsed() < LOOK_UP_AGAIN_AFTER);
        let mut unknown = self.early_rejection.take_unknown();
        unknown.retain(|seat| {
            !self.without_concert.contains_key(seat) && !self.early_rejection.concerts().knows(*seat)
        });
        if unknown.is_empty() {
            return Ok(wanted);
        }
        let seats: Vec<SeatId> = unknown.iter().copied().collect();
        for (seat, concert) in sold_seats::concerts_of(connection, &seats).await? {
            if !self.failed_loads.must_wait(concert) && !wanted.contains(&concert) {
                wanted.push(concert);
            }
            unknown.remove(&seat);
        }
        if self.without_concert.len() + unknown.len() > WITHOUT_CONCERT_MAX {
            self.without_concert.clear();
        }
        let now = Instant::now();
        self.without_concert.extend(unknown.into_iter().map(|seat| (seat, now)));
        Ok(wanted)
    }

    async fn load(&mut self, connection: &mut PgConnection, id: ConcertId) -> Result<(), sqlx::Error> {
        let began = since_boot();
        // If this is given up, the round ends it.
        self.failed_loads.begin(id);
        self.early_rejection.concerts_mut().begin_load(id);
        let loaded = stored::load(connection, id).await;
        let ended = since_boot();
        let (concert, result) = match loaded {
            Ok(Some(mut concert)) => {
                concert.use_now(ended);
                concert.loaded(began, ended);
                (Some(concert), Ok(()))
            }
            Ok(None) => (None, Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.early_rejection.0.metrics.loads.inc();
        if concert.as_ref().is_some_and(|concert| concert.bytes() <= BYTES_MAX) {
            self.failed_loads.succeeded();
        }
        self.failed_loads.end();
        let unneeded = self.early_rejection.concerts_mut().end_load(id, concert);
        debug!(concert.id = %id, "read the sold seats of concert {id} in {:.1?}", ended.saturating_sub(began));
        drop(unneeded);
        result
    }

    /// Compares the concerts that are in use with the database.
    async fn compare(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        // Before the query: what is committed later may be missing in its result.
        let began = since_boot();
        let used: HashMap<ConcertId, usize> = {
            let concerts = self.early_rejection.concerts();
            let used = concerts.iter().filter(|concert| concert.is_used(began));
            used.map(|concert| (concert.id, concert.sales.free())).collect()
        };
        if used.is_empty() {
            return Ok(());
        }
        let ids: Vec<ConcertId> = used.keys().copied().collect();
        let found = within(QUERY_TIMEOUT, stored::compare(connection, &ids)).await?;
        self.early_rejection.0.metrics.comparisons.inc();
        let mut removed = Vec::new();
        let mut concerts = self.early_rejection.concerts_mut();
        for (id, free) in used {
            match found.get(&id) {
                Some(compared) => {
                    let outdated = concerts.compare(id, *compared, free, began);
                    if let Some(cause) = outdated {
                        self.early_rejection.0.metrics.count_outdated(cause);
                    }
                }
                // It was deleted.
                None => removed.extend(concerts.end_load(id, None)),
            }
        }
        drop(concerts);
        Ok(())
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let no_response = || io::Error::new(io::ErrorKind::TimedOut, "the database does not respond");
    timeout(limit, work).await.unwrap_or_else(|_| Err(no_response().into()))
}
