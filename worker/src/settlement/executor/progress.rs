//! The progress of a batch: what is still to be tried, and which bookings failed alone.

use std::collections::VecDeque;
use std::mem::take;

use hamro_shared::domain::{TicketId, Timestamp};
use hamro_shared::telemetry::traces::TraceContext;

use super::BatchResult;
use crate::settlement::batch::{Batch, DeadLetterReason};
use crate::settlement::error_class::{ErrorClass, SettleError};
use crate::settlement::failure_limit::FailureLimit;
use crate::settlement::transaction::Committed;

pub(super) struct Progress {
    todo: VecDeque<Batch>,
    /// What failed alone, in order. It is decided on once everything else was tried.
    suspects: VecDeque<Suspect>,
    result: BatchResult,
    /// Whether anything was sold since the last [`Verdict::Halt`].
    has_sold: bool,
    /// Whether anything was sold after a suspect failed: the cause of that failure may be gone.
    may_have_recovered: bool,
}

/// A single booking, or dead letter, that the database rejected.
struct Suspect {
    batch: Batch,
    class: ErrorClass,
    error: SettleError,
}

/// What to do once everything but the suspects is settled.
pub(super) enum Verdict {
    Done(BatchResult),
    /// There is more to try.
    Continue,
    /// The booking is set aside.
    SetAside {
        ticket: Option<TicketId>,
        trace: Option<TraceContext>,
        error: SettleError,
    },
    /// The bookings are not at fault: pause settlement, and then retry all of them.
    Halt {
        size: usize,
        error: SettleError,
    },
}

impl Progress {
    pub fn of(batch: Batch) -> Self {
        Self {
            todo: VecDeque::from([batch]),
            suspects: VecDeque::new(),
            result: BatchResult::default(),
            has_sold: false,
            may_have_recovered: false,
        }
    }

    /// The next part to try.
    pub fn next(&mut self) -> Option<Batch> {
        self.todo.pop_front()
    }

    /// Tries this part again, before all others.
    pub fn retry(&mut self, batch: Batch) {
        self.todo.push_front(batch);
    }

    pub fn settled(&mut self, committed: Committed) {
        self.has_sold |= committed.sold > 0;
        self.may_have_recovered |= committed.sold > 0 && !self.suspects.is_empty();
        self.result.tickets.extend(committed.tickets);
        self.result.sales.extend(committed.announced);
        self.result.deferred.extend(committed.deferred);
    }

    /// The database rejected this part. Its halves are tried separately; a single booking becomes a suspect.
    pub fn split(&mut self, batch: Batch, class: ErrorClass, error: SettleError) {
        match batch.split() {
            Ok((earlier, later)) => {
                self.todo.push_front(later);
                self.todo.push_front(earlier);
            }
            Err(batch) => self.suspects.push_back(Suspect { batch, class, error }),
        }
    }

    /// Decides on the first suspect.
    ///
    /// A suspect may fail, or be set aside, if the rest of its batch settled and the failure limit allows it. The rest
    /// settled if it is the only suspect, or if something was sold at the same time. Otherwise the system is at fault,
    /// and all suspects wait. After a sale all suspects are tried once more, so that none is judged by a failure that
    /// may be over.
    pub fn judge(&mut self, failure_limit: &FailureLimit, now: Timestamp) -> Verdict {
        if take(&mut self.may_have_recovered) {
            self.todo.extend(self.suspects.drain(..).map(|suspect| suspect.batch));
            return Verdict::Continue;
        }
        let is_only = self.suspects.len() == 1;
        let Some(Suspect { batch, class, error }) = self.suspects.pop_front() else {
            return Verdict::Done(take(&mut self.result));
        };
        let is_letter = batch.commands.is_empty();
        if !is_letter && batch.is_past_deadline(now) {
            self.todo.push_back(batch.into_dead_letters(DeadLetterReason::SetAside, &error.to_string()));
            return Verdict::Continue;
        }
        let was_set_aside = batch.commands.iter().any(|command| command.set_aside > 0);
        // A dead letter is only bytes, which Postgres stores as they are: if it fails, the system is at fault.
        let rest_settled = !is_letter && (is_only || self.has_sold);
        if was_set_aside || rest_settled && failure_limit.try_count_failure() {
            if class == ErrorClass::BadData {
                let detail = error.to_string();
                self.todo.push_back(batch.into_dead_letters(DeadLetterReason::RefusedByDatabase, &detail));
                return Verdict::Continue;
            }
            let booking = batch.commands.first();
            let (ticket, trace) =
                (booking.map(|booking| booking.ticket.id), booking.and_then(|booking| booking.trace));
            self.result.set_aside.extend(batch.commands);
            return Verdict::SetAside { ticket, trace, error };
        }
        let mut all = batch;
        for later in self.suspects.drain(..) {
            all.append(later.batch);
        }
        let size = all.len();
        self.todo.push_back(all);
        self.has_sold = false;
        Verdict::Halt { size, error }
    }
}
