//! Sees to it that a batch ends, whatever the database says.

mod progress;

use std::time::Duration;

use hamro_shared::backoff::Backoff;
use hamro_shared::database::{CHECK_AFTER, Session, Sessions};
use hamro_shared::domain::{Clock, SettledTicket};
use sqlx::error::DatabaseError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::batch::{Batch, BookingCommand, DeadLetterReason};
use super::error_class::ErrorClass;
use super::failure_limit::FailureLimit;
use super::lock_order::LockTurn;
use super::seat_locks::Locking;
use super::stuck_seats::StuckSeats;
use super::transaction::{Committed, settle};
use crate::readiness::Readiness;

use progress::{Progress, Verdict};

/// A server whose machine has gone, or a network that has, says nothing at all: after this long the connection is given
/// up. The server's own limits on a statement and a lock are shorter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// After so many statement time-outs the batch is split: if it is one booking that takes so long, it must not stop the others.
const MAX_TIMEOUTS: u32 = 2;

/// Settles one batch after the other, on one session of the database.
pub struct BatchExecutor {
    sessions: Sessions,
    session: Option<Session>,
    clock: Clock,
    readiness: Readiness,
    failure_limit: FailureLimit,
    locking: Locking,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct BatchResult {
    /// The tickets that were settled now.
    pub tickets: Vec<SettledTicket>,
    /// Bookings that failed alone and are not settled. Publish them to the dead queue before acknowledging their parcels.
    pub set_aside: Vec<BookingCommand>,
    /// Bookings that want a seat which another session holds, and are not settled. Publish them to the intake queue before
    /// acknowledging their parcels.
    pub deferred: Vec<BookingCommand>,
}

/// The settler was asked to stop while a batch was waiting for the database. What was not committed is still
/// unacknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

impl BatchExecutor {
    pub fn new(sessions: Sessions, clock: Clock, readiness: Readiness) -> Self {
        let (failure_limit, locking) = (FailureLimit::default(), Locking::default());
        Self { sessions, session: None, clock, readiness, failure_limit, locking }
    }

    /// Shares the brake with the other settlers of the process.
    #[must_use]
    pub fn with_failure_limit(mut self, failure_limit: FailureLimit) -> Self {
        self.failure_limit = failure_limit;
        self
    }

    /// Shares with them what is known of stuck seats.
    #[must_use]
    pub fn with_stuck_seats(mut self, stuck_seats: StuckSeats) -> Self {
        self.locking.stuck_seats = stuck_seats;
        self
    }

    /// Settles the batch when its turn has come, and returns only when it is, or when `stop` comes while it waits for a
    /// better moment.
    ///
    /// A transient failure is retried. Where the database refuses a batch, the batch is split until each booking that fails
    /// stands alone, and the others are settled. Of those that fail alone, bad data ends as failed, and any other is set aside,
    /// as [`Progress::judge`] decides. Where more fail than may be set aside, the settler stops with them in hand and tries
    /// again later, and with it whatever is behind it, but for a batch that is in hand beside it: nothing is taken from the
    /// queue, and nothing is lost. Dropping the future loses nothing either.
    pub async fn settle(
        &mut self,
        batch: Batch,
        mut turn: LockTurn,
        stop: &CancellationToken,
    ) -> Result<BatchResult, Interrupted> {
        turn.acquire().await;
        let _busy = self.readiness.busy_guard();
        let mut progress = Progress::of(batch);
        let mut timeouts = 0;
        let mut transient = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        let mut systemic = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        loop {
            let Some(batch) = progress.next() else {
                match progress.judge(&self.failure_limit, self.clock.now()) {
                    Verdict::Done(result) => return Ok(result),
                    Verdict::GoOn => {}
                    Verdict::SetAside(failure) => {
                        error!("a booking failed alone and is set aside until it can be settled: {failure}");
                        self.readiness.note("a booking is set aside unsettled; see the log");
                    }
                    Verdict::Stop { size, failure } => {
                        error!(
                            batch.size = size,
                            "settlement stopped with {size} in hand: database error not caused by the bookings: {failure}"
                        );
                        self.readiness.set_not_ready(
                            "the database refuses what is not caused by the bookings; see the log",
                        );
                        pause(&mut systemic, stop).await?;
                    }
                }
                continue;
            };
            let size = batch.len();
            let failure = match self.attempt(&batch, &mut turn).await {
                Ok(committed) => {
                    if committed.sold > 0 {
                        self.failure_limit.reset();
                    }
                    self.locking.waits_for_none = false;
                    progress.settled(committed);
                    self.readiness.set_ready();
                    transient.reset();
                    continue;
                }
                Err(failure) => failure,
            };
            match ErrorClass::of(&failure) {
                ErrorClass::Transient if has_timed_out(&failure) && timeouts == MAX_TIMEOUTS => {
                    warn!(batch.size = size, "splitting a batch of {size} that takes too long: {failure}");
                    progress.split(batch, ErrorClass::Unexplained, failure);
                }
                ErrorClass::Transient => {
                    timeouts += u32::from(has_timed_out(&failure));
                    warn!(batch.size = size, "trying a batch of {size} again: {failure}");
                    // If it was a seat, the batch goes on without it; if it was something else, it waits for that again.
                    self.locking.waits_for_none = has_waited_in_vain(&failure);
                    if matches!(failure, sqlx::Error::Io(_)) {
                        self.readiness.set_not_ready("the database cannot be reached");
                    }
                    progress.again(batch);
                    pause(&mut transient, stop).await?;
                }
                ErrorClass::Systemic => {
                    error!(
                        batch.size = size,
                        "settlement stopped with {size} in hand: the database does not work: {failure}"
                    );
                    self.readiness.set_not_ready("the database does not work; see the log");
                    progress.again(batch);
                    pause(&mut systemic, stop).await?;
                }
                ErrorClass::BadData if size == 1 && !batch.commands.is_empty() && self.may_fail(&batch) => {
                    progress.again(
                        batch.into_dead_letters(DeadLetterReason::RefusedByDatabase, &failure.to_string()),
                    );
                }
                class => {
                    debug!(batch.size = size, "the database refuses {size}: {failure}");
                    progress.split(batch, class, failure);
                }
            }
        }
    }

    /// Whether this booking may fail. One that was set aside before has been counted.
    fn may_fail(&self, booking: &Batch) -> bool {
        booking.commands.iter().all(|command| command.set_aside > 0) || self.failure_limit.allows_one_more()
    }

    /// One try. A session that turns out to be useless is not used again: the server drops its transaction with it.
    async fn attempt(&mut self, batch: &Batch, turn: &mut LockTurn) -> Result<Committed, sqlx::Error> {
        let mut session = self.usable_session().await?;
        let settling = settle(&mut session.connection, &self.clock, &self.locking, batch, turn);
        let result = timeout(ANSWER_TIMEOUT, settling).await.unwrap_or_else(|_| {
            let silence = std::io::Error::new(std::io::ErrorKind::TimedOut, "the database does not answer");
            Err(sqlx::Error::Io(silence))
        });
        if self.sessions.keeps(&mut session, &result) {
            self.session = Some(session);
        }
        result
    }

    /// The session of the batch before, if it can still be used, or else a new one. Until it is given back nobody has it, so
    /// it is closed if this batch is dropped.
    async fn usable_session(&mut self) -> Result<Session, sqlx::Error> {
        if let Some(mut session) = self.session.take()
            && self.sessions.check(&mut session, CHECK_AFTER).await
        {
            return Ok(session);
        }
        self.sessions.open().await
    }
}

/// `lock_timeout` has passed.
fn has_waited_in_vain(failure: &sqlx::Error) -> bool {
    is(failure, "55P03")
}

/// `statement_timeout` has passed.
fn has_timed_out(failure: &sqlx::Error) -> bool {
    is(failure, "57014")
}

fn is(failure: &sqlx::Error, sqlstate: &str) -> bool {
    failure.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == sqlstate)
}

async fn pause(backoff: &mut Backoff, stop: &CancellationToken) -> Result<(), Interrupted> {
    tokio::select! {
        () = backoff.pause() => Ok(()),
        () = stop.cancelled() => Err(Interrupted),
    }
}
