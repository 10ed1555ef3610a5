//! Makes sure that a batch ends, whatever error the database returns.

mod progress;

use std::io;
use std::time::Duration;

use hamro_shared::backoff::Backoff;
use hamro_shared::database::{CHECK_AFTER, Session, Sessions, commits_are_blocked, server_replaced};
use hamro_shared::domain::{Clock, SettledTicket};
use hamro_shared::queue::AnnouncedSales;
use hamro_shared::telemetry::traces::{Traces, trace_id};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::field::display;
use tracing::{debug, error, warn};

use self::progress::{Progress, Verdict};
use super::batch::{Batch, BookingCommand, DeadLetterReason};
use super::batch_spans::{AnnouncementSpans, BatchSpans};
use super::customer_limit::CustomerLimit;
use super::error_class::{ErrorClass, LOCK_NOT_AVAILABLE, QUERY_CANCELED, SettleError, failure_reason};
use super::failure_limit::FailureLimit;
use super::lock_order::LockTurn;
use super::seat_locks::Locking;
use super::stuck_seats::StuckSeats;
use super::transaction::{Committed, settle};
use crate::metrics::WorkerMetrics;
use crate::readiness::Readiness;

/// A server or a network that has failed does not respond at all. The server's own limits on a statement and a lock are
/// shorter.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// After this many statement timeouts the batch is split: a single slow booking must not stop the others.
const MAX_TIMEOUTS: u32 = 2;

/// Settles one batch at a time, on one database session.
pub struct BatchExecutor {
    sessions: Sessions,
    session: Option<Session>,
    clock: Clock,
    readiness: Readiness,
    failure_limit: FailureLimit,
    locking: Locking,
    customer_limit: CustomerLimit,
    metrics: WorkerMetrics,
    traces: Traces,
}

/// The end of a batch.
#[derive(Debug, Default)]
pub struct BatchResult {
    /// The tickets that were settled now.
    pub tickets: Vec<SettledTicket>,
    /// What each of its transactions has sold.
    pub sales: Vec<AnnouncedSales>,
    /// Bookings that failed alone and are not settled. Publish them to the dead queue before acknowledging their
    /// parcels.
    pub set_aside: Vec<BookingCommand>,
    /// Bookings of seats that another session has locked; not settled. Publish them to the intake queue before
    /// acknowledging their parcels.
    pub deferred: Vec<BookingCommand>,
    /// The spans of the announcement of `tickets`.
    pub announcement_spans: AnnouncementSpans,
}

/// The executor was asked to stop while the batch waited for the database. What was not committed is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// The pauses between the attempts at one batch.
struct Pauses {
    transient: Backoff,
    systemic: Backoff,
    timeouts: u32,
}

impl Default for Pauses {
    fn default() -> Self {
        Self {
            transient: Backoff::new(Duration::from_millis(10), Duration::from_secs(2)),
            systemic: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            timeouts: 0,
        }
    }
}

impl BatchExecutor {
    pub fn new(sessions: Sessions, clock: Clock, readiness: Readiness) -> Self {
        Self {
            sessions,
            session: None,
            clock,
            readiness,
            failure_limit: FailureLimit::default(),
            locking: Locking::default(),
            customer_limit: CustomerLimit::default(),
            metrics: WorkerMetrics::default(),
            traces: Traces::default(),
        }
    }

    /// Shares the failure limit with the other executors of the process.
    #[must_use]
    pub fn with_failure_limit(mut self, failure_limit: FailureLimit) -> Self {
        self.failure_limit = failure_limit;
        self
    }

    /// Shares the record of stuck seats with them.
    #[must_use]
    pub fn with_stuck_seats(mut self, stuck_seats: StuckSeats) -> Self {
        self.locking.stuck_seats = stuck_seats;
        self
    }

    /// Limits the seats of a customer also in concerts without a limit of their own.
    #[must_use]
    pub fn with_customer_limit(mut self, customer_limit: CustomerLimit) -> Self {
        self.customer_limit = customer_limit;
        self
    }

    /// Counts into these metrics what it settles.
    #[must_use]
    pub fn with_metrics(mut self, metrics: WorkerMetrics) -> Self {
        self.locking.wait = metrics.lock_wait.clone();
        self.metrics = metrics;
        self
    }

    /// Makes its batches a part of the traces of their bookings.
    #[must_use]
    pub fn with_traces(mut self, traces: Traces) -> Self {
        self.traces = traces;
        self
    }

    /// Waits for the batch's turn and settles it. Returns once the batch has ended, or `Interrupted` if `stop` is
    /// cancelled during a pause.
    ///
    /// Transient failures are retried. If the database rejects a batch, the batch is split until each booking that
    /// fails is alone, and the others are settled. Of the bookings that fail alone, bad data ends as failed and any
    /// other booking is set aside, as [`Progress::judge`] decides. If more fail than may be set aside, the executor
    /// pauses and retries: meanwhile it keeps them, and takes nothing further from the queue. Dropping the future loses
    /// nothing.
    pub async fn settle(
        &mut self,
        batch: Batch,
        mut turn: LockTurn,
        stop: &CancellationToken,
    ) -> Result<BatchResult, Interrupted> {
        turn.acquire().await;
        let _busy = self.readiness.busy_guard();
        let spans = BatchSpans::start(&self.traces, &batch);
        let mut progress = Progress::of(batch);
        let mut pauses = Pauses::default();
        loop {
            if let Some(batch) = progress.next() {
                match self.attempt(&batch, &mut turn).await {
                    Ok(committed) => {
                        self.on_committed(&committed);
                        progress.settled(committed);
                        pauses.transient.reset();
                    }
                    Err(error) => self.on_failure(batch, error, &mut progress, &mut pauses, stop).await?,
                }
                continue;
            }
            match progress.judge(&self.failure_limit, self.clock.now()) {
                Verdict::Done(result) => return Ok(spans.end(result)),
                Verdict::Continue => {}
                Verdict::SetAside { ticket, trace, error } => {
                    self.metrics.set_aside.inc();
                    let (ticket, trace_id) = (ticket.map(display), trace_id(trace));
                    error!(
                        ticket.log_id = ticket,
                        trace_id, "booking set aside; retrying until its deadline: {error}"
                    );
                    self.readiness.note("a booking is set aside; see the log");
                }
                Verdict::Halt { size, error } => {
                    error!(
                        batch.size = size,
                        "settlement halted with {size} bookings unsettled: database error not caused by the bookings: {error}"
                    );
                    self.readiness.set_not_ready("database error not caused by the bookings; see the log");
                    pause(&mut pauses.systemic, stop).await?;
                }
            }
        }
    }

    fn on_committed(&mut self, committed: &Committed) {
        if committed.sold > 0 {
            self.failure_limit.reset();
        }
        self.metrics.on_settled(&committed.tickets, self.clock.now());
        for reason in &committed.dead_letters {
            self.metrics.on_dead_letter(reason.as_str());
        }
        self.metrics.deferred.inc_by(committed.deferred.len() as u64);
        self.locking.skip_all_locked = false;
        self.readiness.set_ready();
    }

    /// Retries the batch after a pause, splits it, or ends a booking with bad data.
    async fn on_failure(
        &mut self,
        batch: Batch,
        error: SettleError,
        progress: &mut Progress,
        pauses: &mut Pauses,
        stop: &CancellationToken,
    ) -> Result<(), Interrupted> {
        self.metrics.on_failed(failure_reason(&error));
        let size = batch.len();
        let timed_out = error.is_sqlstate(QUERY_CANCELED);
        match ErrorClass::of(&error) {
            ErrorClass::Transient if timed_out && pauses.timeouts == MAX_TIMEOUTS => {
                warn!(batch.size = size, "batch of {size} timed out repeatedly; splitting it: {error}");
                progress.split(batch, ErrorClass::Unexplained, error);
            }
            ErrorClass::Transient => {
                pauses.timeouts += u32::from(timed_out);
                warn!(batch.size = size, "retrying a batch of {size}: {error}");
                // If a seat was locked, the next attempt defers its bookings; if it was another row, it waits for that
                // again.
                self.locking.skip_all_locked = error.is_sqlstate(LOCK_NOT_AVAILABLE);
                if self.sessions.servers().commits_are_blocked() {
                    self.readiness.set_not_ready("commits wait for a synchronous standby");
                } else if error.is_io() {
                    self.readiness.set_not_ready("the database cannot be reached");
                }
                progress.retry(batch);
                pause(&mut pauses.transient, stop).await?;
            }
            ErrorClass::Systemic => {
                error!(
                    batch.size = size,
                    "settlement halted with {size} bookings unsettled: the database does not work: {error}"
                );
                self.readiness.set_not_ready("the database does not work; see the log");
                progress.retry(batch);
                pause(&mut pauses.systemic, stop).await?;
            }
            ErrorClass::BadData if size == 1 && !batch.commands.is_empty() => {
                if self.try_count_failure(&batch) {
                    let detail = error.to_string();
                    progress.retry(batch.into_dead_letters(DeadLetterReason::RefusedByDatabase, &detail));
                } else {
                    progress.split(batch, ErrorClass::BadData, error);
                }
            }
            class => {
                debug!(batch.size = size, "the database rejected a batch of {size}: {error}");
                progress.split(batch, class, error);
            }
        }
        Ok(())
    }

    /// Counts the booking as a failure, unless it was counted when it was set aside before. Returns `false` at the
    /// failure limit: the booking must not fail.
    fn try_count_failure(&self, booking: &Batch) -> bool {
        booking.commands.iter().all(|command| command.set_aside > 0) || self.failure_limit.try_count_failure()
    }

    /// One attempt. A session that turns out to be unusable is closed, and the server rolls back its transaction.
    async fn attempt(&mut self, batch: &Batch, turn: &mut LockTurn) -> Result<Committed, SettleError> {
        if self.sessions.servers().commits_are_blocked() {
            return Err(commits_are_blocked().into());
        }
        let mut session = self.usable_session().await?;
        let replaced = self.sessions.replaced(&session);
        let (clock, locking, limit) = (&self.clock, &self.locking, self.customer_limit);
        let started = Instant::now();
        let settling = settle(&mut session.connection, clock, locking, limit, batch, turn);
        let result = tokio::select! {
            biased;
            result = timeout(RESPONSE_TIMEOUT, settling) => result.unwrap_or_else(|_| {
                let error = io::Error::new(io::ErrorKind::TimedOut, "the database does not respond");
                Err(sqlx::Error::Io(error).into())
            }),
            () = replaced => Err(server_replaced().into()),
        };
        if result.is_ok() {
            self.metrics.batch_duration.observe_duration(started.elapsed());
            #[expect(clippy::cast_precision_loss, reason = "a histogram")]
            self.metrics.batch_sizes.observe(batch.len() as f64);
        }
        let is_reusable = match &result {
            Ok(_) => self.sessions.finish_use(&mut session, None),
            Err(SettleError::Database(error)) => self.sessions.finish_use(&mut session, Some(error)),
            Err(SettleError::Invariant(_)) => false,
        };
        if is_reusable {
            self.session = Some(session);
        }
        result
    }

    /// The session of the previous batch if it is usable, or else a new one. It is owned by the attempt, so dropping
    /// the attempt closes it.
    async fn usable_session(&mut self) -> Result<Session, sqlx::Error> {
        if let Some(mut session) = self.session.take()
            && self.sessions.check(&mut session, CHECK_AFTER).await
        {
            return Ok(session);
        }
        self.sessions.open().await
    }
}

async fn pause(backoff: &mut Backoff, stop: &CancellationToken) -> Result<(), Interrupted> {
    tokio::select! {
        () = backoff.pause() => Ok(()),
        () = stop.cancelled() => Err(Interrupted),
    }
}
