//! Sees to it that a batch ends, whatever the database says.

use std::collections::VecDeque;
use std::time::Duration;

use hamro_shared::backoff::Backoff;
use hamro_shared::database::{CHECK_AFTER, Session, Sessions};
use hamro_shared::domain::{Clock, SettledTicket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::batch::{Batch, DeathReason};
use crate::failure::Failure;
use crate::readiness::Readiness;
use crate::settlement::settle;
use crate::turn::Turn;

/// After this many refusals in a row of bookings that stood alone, it is not the bookings.
const CULPRITS_IN_A_ROW: u32 = 3;

/// A server whose machine has gone, or a network that has, says nothing at all: after this long the connection is given
/// up. The server's own limits on a statement and a lock are shorter.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Settles one batch after the other, on one session of the database.
pub struct Settler {
    sessions: Sessions,
    session: Option<Session>,
    clock: Clock,
    readiness: Readiness,
    culprits_in_a_row: u32,
}

/// The settler was asked to stop while a batch was waiting for the database. What was not committed is still
/// unacknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

impl Settler {
    pub fn new(sessions: Sessions, clock: Clock, readiness: Readiness) -> Self {
        Self { sessions, session: None, clock, readiness, culprits_in_a_row: 0 }
    }

    /// Settles the batch when its turn has come, and returns only when it is, or when `stop` comes while it waits for a
    /// better moment.
    ///
    /// A transient failure is retried. A batch that the database refuses is split until the culprit stands alone, and
    /// fails. Anything else keeps the batch waiting here, and with it whatever is behind it, but for a batch that is in hand
    /// beside it: nothing is taken from the
    /// queue, and nothing is lost. Dropping the future loses nothing either.
    pub async fn settle(
        &mut self,
        batch: Batch,
        mut turn: Turn,
        stop: &CancellationToken,
    ) -> Result<Vec<SettledTicket>, Stopped> {
        turn.comes().await;
        let _busy = self.readiness.busy();
        let mut settled = Vec::with_capacity(batch.len());
        let mut todo = VecDeque::from([batch]);
        let mut transient = Backoff::new(Duration::from_millis(10), Duration::from_secs(2));
        let mut systemic = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        while let Some(batch) = todo.pop_front() {
            let size = batch.len();
            let failure = match self.attempt(&batch, &mut turn).await {
                Ok(tickets) => {
                    settled.extend(tickets);
                    self.readiness.is_green();
                    if !batch.orders.is_empty() {
                        self.culprits_in_a_row = 0;
                    }
                    transient.reset();
                    continue;
                }
                Err(failure) => failure,
            };
            match self.class(&failure, &batch) {
                Failure::Transient => {
                    warn!(batch.size = size, "trying a batch of {size} again: {failure}");
                    if matches!(failure, sqlx::Error::Io(_)) {
                        self.readiness.is_red("the database cannot be reached");
                    }
                    todo.push_front(batch);
                    pause(&mut transient, stop).await?;
                }
                Failure::Systemic => {
                    error!(
                        batch.size = size,
                        "stopped with a batch of {size} in hand, which is not to blame: {failure}"
                    );
                    self.readiness.is_red("the database refuses what is no booking's fault; see the log");
                    // Behind the others: if they can be settled, it is to blame after all.
                    todo.push_back(batch);
                    pause(&mut systemic, stop).await?;
                }
                Failure::Culprit => match batch.split() {
                    Ok((earlier, later)) => {
                        warn!(
                            batch.size = size,
                            "splitting a batch of {size} that the database refuses: {failure}"
                        );
                        todo.push_front(later);
                        todo.push_front(earlier);
                    }
                    Err(alone) => {
                        self.culprits_in_a_row += 1;
                        todo.push_front(alone.into_dead_letters(&failure));
                    }
                },
            }
        }
        Ok(settled)
    }

    /// One try. A session that turns out to be useless is not used again: the server drops its transaction with it.
    async fn attempt(&mut self, batch: &Batch, turn: &mut Turn) -> Result<Vec<SettledTicket>, sqlx::Error> {
        let mut session = self.usable_session().await?;
        let settling = settle(&mut session.connection, &self.clock, batch, turn);
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

    fn class(&self, failure: &sqlx::Error, batch: &Batch) -> Failure {
        match Failure::of(failure) {
            Failure::Culprit if batch.len() == 1 && self.culprits_in_a_row >= CULPRITS_IN_A_ROW => {
                Failure::Systemic
            }
            // Nothing in a dead letter comes from a booking but bytes, which Postgres takes as they are.
            Failure::Culprit if batch.orders.is_empty() => Failure::Systemic,
            class => class,
        }
    }
}

async fn pause(backoff: &mut Backoff, stop: &CancellationToken) -> Result<(), Stopped> {
    tokio::select! {
        () = backoff.pause() => Ok(()),
        () = stop.cancelled() => Err(Stopped),
    }
}

impl Batch {
    /// The same, with nothing left to decide: each of its orders has failed.
    fn into_dead_letters(self, failure: &sqlx::Error) -> Self {
        let mut dead_letters = self.dead_letters;
        dead_letters.extend(
            self.orders
                .iter()
                .map(|order| order.dead_letter(DeathReason::RefusedByDatabase, &failure.to_string())),
        );
        Self { orders: Vec::new(), dead_letters }
    }
}
