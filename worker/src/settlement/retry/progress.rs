//! How far a batch has come: what is still to be tried, and what failed alone.

use std::collections::VecDeque;

use hamro_shared::domain::Timestamp;
use sqlx::Error;

use super::BatchResult;
use crate::settlement::batch::{Batch, DeadLetterReason};
use crate::settlement::error_class::ErrorClass;
use crate::settlement::failure_limit::FailureLimit;
use crate::settlement::transaction::Committed;

pub(super) struct Progress {
    todo: VecDeque<Batch>,
    /// What failed alone, in order. It waits until everything else has been tried.
    suspects: VecDeque<Suspect>,
    result: BatchResult,
    /// Whether anything was sold since the last stop.
    has_sold: bool,
    /// Whether something was sold after one of the suspects had failed: what they failed of may be over.
    may_be_over: bool,
}

/// A single booking, or dead letter, that the database refused.
struct Suspect {
    batch: Batch,
    class: ErrorClass,
    failure: Error,
}

/// What to do once everything but the suspects is settled.
pub(super) enum Verdict {
    Done(BatchResult),
    /// There is more to try.
    GoOn,
    /// The booking is set aside.
    SetAside(Error),
    /// The bookings are not at fault. Pause, then go on.
    Stop {
        size: usize,
        failure: Error,
    },
}

impl Progress {
    pub fn of(batch: Batch) -> Self {
        Self {
            todo: VecDeque::from([batch]),
            suspects: VecDeque::new(),
            result: BatchResult::default(),
            has_sold: false,
            may_be_over: false,
        }
    }

    /// The next part to try.
    pub fn next(&mut self) -> Option<Batch> {
        self.todo.pop_front()
    }

    /// This part is to be tried again, before all others.
    pub fn again(&mut self, batch: Batch) {
        self.todo.push_front(batch);
    }

    pub fn settled(&mut self, committed: Committed) {
        self.has_sold |= committed.sold > 0;
        self.may_be_over |= committed.sold > 0 && !self.suspects.is_empty();
        self.result.tickets.extend(committed.tickets);
        self.result.deferred.extend(committed.deferred);
    }

    /// The database refused this part. Its halves are tried on their own; a single thing becomes a suspect.
    pub fn split(&mut self, batch: Batch, class: ErrorClass, failure: Error) {
        match batch.split() {
            Ok((earlier, later)) => {
                self.todo.push_front(later);
                self.todo.push_front(earlier);
            }
            Err(batch) => self.suspects.push_back(Suspect { batch, class, failure }),
        }
    }

    /// Decides on the first suspect.
    ///
    /// A suspect may suffer alone if the rest of its batch settled, which means: it is the only one, or the database has sold
    /// something at the same time; and if the brake permits it. Otherwise the system is at fault, and all suspects wait. After a
    /// sale all suspects are tried once more, so that none is judged by a failure that others have got over.
    pub fn judge(&mut self, failure_limit: &FailureLimit, now: Timestamp) -> Verdict {
        if std::mem::take(&mut self.may_be_over) {
            self.todo.extend(self.suspects.drain(..).map(|suspect| suspect.batch));
            return Verdict::GoOn;
        }
        let is_only = self.suspects.len() == 1;
        let Some(suspect) = self.suspects.pop_front() else {
            return Verdict::Done(std::mem::take(&mut self.result));
        };
        let Suspect { batch, class, failure } = suspect;
        let is_letter = batch.commands.is_empty();
        let was_set_aside = batch.commands.iter().any(|command| command.set_aside > 0);
        if !is_letter && batch.is_past_deadline(now) {
            self.todo.push_back(batch.into_dead_letters(DeadLetterReason::SetAside, &failure.to_string()));
            return Verdict::GoOn;
        }
        // Nothing in a dead letter comes from a booking but bytes, which Postgres takes as they are.
        let may_suffer = !is_letter && (is_only || self.has_sold);
        if was_set_aside || may_suffer && failure_limit.allows_one_more() {
            if class == ErrorClass::BadData {
                let letter =
                    batch.into_dead_letters(DeadLetterReason::RefusedByDatabase, &failure.to_string());
                self.todo.push_back(letter);
                return Verdict::GoOn;
            }
            self.result.set_aside.extend(batch.commands);
            return Verdict::SetAside(failure);
        }
        let mut all = batch;
        for later in self.suspects.drain(..) {
            all.append(later.batch);
        }
        let size = all.len();
        self.todo.push_back(all);
        self.has_sold = false;
        Verdict::Stop { size, failure }
    }
}
