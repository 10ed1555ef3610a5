//! The attempts to book, and what may happen to one next.

use super::{Action, EarlyRejection, Id, Rule, SeatsVersion, State, key};

/// One request of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Attempt {
    #[default]
    NotSent,
    /// On its way to an instance, for longer than it should be.
    Sent { at: u8 },
    /// Accepted under a ticket that was issued at this time, by the clock of the instance.
    Queued { sent_at: u8, issued_at: u8 },
    /// Its seats were sold.
    Sold {
        /// The database's version as the sale's transaction read it, under the locks of the seats.
        version: SeatsVersion,
        /// A retry of it had been refused before.
        after_refusal: bool,
        /// The sale was released.
        released: bool,
    },
    /// It shares the outcome of an earlier attempt under its key.
    Shared { sold: bool },
    /// A worker rejected it.
    Rejected { wrongly: bool },
    /// An instance refused it without queueing it.
    Refused(Refusal),
    /// Its outcome was lost by a restore or a failover. What was announced of its sale, with this version, may still arrive.
    Lost { sale: Option<SeatsVersion> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Refusal {
    /// All of its seats were free.
    pub seats_were_free: bool,
    /// An attempt under its key has the seats.
    pub by_own_sale: bool,
    /// An attempt under its key had been sold, even if the sale was released since.
    pub after_own_sale: bool,
    pub at: u8,
}

impl EarlyRejection {
    pub(super) fn attempt_actions(&self, state: &State, attempt: Id, actions: &mut Vec<Action>) {
        match state.attempts[attempt] {
            // The first two differ only in their order.
            Attempt::NotSent if attempt == 1 && state.attempts[0] == Attempt::NotSent => {}
            Attempt::NotSent | Attempt::Sent { .. } => {
                let may_be_late = attempt == 0 && !self.has(Rule::RequestsArriveInTime);
                if may_be_late && state.attempts[attempt] == Attempt::NotSent {
                    actions.push(Action::Send { attempt });
                }
                let errors = if self.has(Rule::ClocksAreCorrected) { 0..=1 } else { 0..=2 };
                actions.extend(errors.map(|clock_error| Action::Queue { attempt, clock_error }));
                for (instance, knowing) in state.instances.iter().enumerate() {
                    if !knowing.is_suspended && state.may_refuse(self, knowing, attempt) {
                        actions.push(Action::Refuse { attempt, instance });
                    }
                }
            }
            // An open release holds the locks of its seats.
            Attempt::Queued { issued_at, .. } if state.release.is_none() => {
                actions.push(Action::Settle { attempt });
                let may_be_reissued = !self.has(Rule::ReissuesAreDecided) && issued_at < state.now;
                if attempt == 0 && may_be_reissued {
                    actions.push(Action::Reissue { attempt });
                }
            }
            Attempt::Sold { released, .. } => {
                let is_idle = state.release.is_none() && state.unfinished.is_none();
                if !released && state.releases_left > 0 && is_idle {
                    actions.push(Action::BeginRelease { attempt, only_first: false });
                    if self.seats_of(attempt).len() > 1 {
                        actions.push(Action::BeginRelease { attempt, only_first: true });
                    }
                }
                self.announcements(state, attempt, actions);
            }
            Attempt::Lost { sale: Some(_) } => self.announcements(state, attempt, actions),
            _ => {}
        }
    }

    fn announcements(&self, state: &State, attempt: Id, actions: &mut Vec<Action>) {
        for instance in (0..self.instances).filter(|instance| self.may_apply(state, attempt, *instance)) {
            actions.push(Action::Announce { attempt, instance, is_later_version: false });
            if key(attempt).is_some() {
                actions.push(Action::Announce { attempt, instance, is_later_version: true });
            }
        }
    }
}
