//! Releases: an administrator takes the seats of a sale back.
//!
//! A release is one transaction. It locks the seats as a batch does, reads which of them the sale still has, marks those as
//! free, and leaves the outcome and its key as they are.

use super::transaction::{Encounter, Step, Transaction};
use super::{Action, Database, Id, Outcome, Place, Rule, Settlement, State};

impl Settlement {
    pub(super) fn release_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (ticket, request) in (0..).zip(&self.requests) {
            let is_sold = state.database.rows[usize::from(ticket)].contains(&Outcome::Sold);
            if is_sold && state.releases_left > 0 && !request.is_late {
                actions.push(Action::BeginRelease { ticket });
            }
        }
        for (release, transaction) in state.releases.iter().enumerate() {
            if transaction.next(self) == Step::Commit {
                actions.push(Action::CommitRelease { release });
            } else if !matches!(
                state.encounter(self, state.number_of_release(release)),
                Encounter::Uncommitted(_)
            ) {
                actions.push(Action::StepRelease { release });
            } else if state.is_deadlocked(self, state.number_of_release(release)) {
                actions.push(Action::AbortRelease { release });
            }
        }
        if state.database.released != 0 {
            let not_issued = state.messages.iter().filter(|message| message.place == Place::NotIssued);
            actions.extend(not_issued.map(|message| Action::Issue { ticket: message.ticket }));
        }
    }
}

impl Transaction {
    /// The next statement of a release.
    pub(super) fn next_of_release(&self, model: &Settlement) -> Step {
        let locks = model.has(Rule::ReleasesLockSeats);
        let to_lock = self.seats(model).into_iter().nth(self.locked.len()).map(Step::Lock).filter(|_| locks);
        let read = self.to_free.is_none().then_some(Step::ReadSale);
        let next = if model.has(Rule::ReleasesReadUnderLocks) { to_lock.or(read) } else { read.or(to_lock) };
        next.unwrap_or(Step::Commit)
    }
}

impl State {
    pub(super) fn begin_release(&mut self, ticket: Id) {
        self.releases_left -= 1;
        let mut transaction = Transaction::begin(vec![ticket]);
        transaction.is_release = true;
        self.releases.push(transaction);
    }

    pub(super) fn step_release(&mut self, model: &Settlement, release: usize) {
        let mut transaction = self.releases[release].clone();
        self.database.run(model, &mut transaction);
        self.releases[release] = transaction;
    }
}

impl Database {
    /// The seats of the sale that are not released, one bit each.
    pub(super) fn live_seats(&self, sale: Id) -> u8 {
        let numbered = (0_u8..).zip(&self.sales);
        numbered.filter(|(_, sales)| sales.contains(&sale)).fold(0, |seats, (seat, _)| seats | 1 << seat)
    }

    pub(super) fn release(&mut self, model: &Settlement, sale: Id, to_free: u8) {
        for (seat, sales) in (0_u8..).zip(&mut self.sales) {
            if to_free & 1 << seat != 0 {
                sales.retain(|live| *live != sale);
            }
        }
        self.marked &= !to_free;
        self.released |= to_free;
        if !model.has(Rule::ReleasesKeepTheKey) {
            self.rows[usize::from(sale)] = vec![Outcome::SoldWithoutKey];
        }
    }
}
