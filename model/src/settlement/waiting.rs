//! What a statement waits for, and what makes it fail.

use super::transaction::{Encounter, Step, Transaction};
use super::{Id, Outcome, Rule, Settlement, State};

impl State {
    pub(super) fn transactions(&self) -> Vec<&Transaction> {
        let flights = self.workers.iter().flatten().filter_map(|flight| flight.transaction.as_ref());
        flights.chain(&self.releases).chain(&self.orphans).collect()
    }

    /// What stands in the way of a transaction's next statement.
    pub(super) fn encounter(&self, model: &Settlement, number: usize) -> Encounter {
        let (all, database) = (self.transactions(), &self.database);
        let transaction = all[number];
        let in_the_way: Box<dyn Fn(&Transaction) -> bool> = match transaction.next(model) {
            Step::Lock(seat) if model.has(Rule::LockSeats) => {
                Box::new(move |other: &Transaction| other.holds_lock(seat))
            }
            Step::InsertSales if model.has(Rule::LiveSeatsAreUnique) => {
                let seats: Vec<u8> = transaction.sold(model).map(|(seat, _)| seat).collect();
                if seats.iter().any(|seat| !database.sales[usize::from(*seat)].is_empty()) {
                    return Encounter::Conflict;
                }
                Box::new(move |other: &Transaction| seats.iter().any(|seat| other.sells(model, *seat)))
            }
            Step::InsertRow(ticket, outcome) => {
                let is_same = move |other: Id, its_outcome: Outcome| {
                    let is_same_key =
                        outcome.holds_key() && its_outcome.holds_key() && model.has_same_key(ticket, other);
                    ticket == other && model.has(Rule::TicketsAreUnique)
                        || is_same_key && model.has(Rule::KeysAreUnique)
                };
                let committed =
                    (0..).zip(&database.rows).flat_map(|(id, rows)| rows.iter().map(move |row| (id, *row)));
                if committed.into_iter().any(|(id, row)| is_same(id, row)) {
                    return Encounter::Conflict;
                }
                Box::new(move |other: &Transaction| {
                    other.inserted().iter().any(|(id, row)| is_same(*id, *row))
                })
            }
            _ => return Encounter::Nothing,
        };
        let is_blocking = |other: &usize| *other != number && in_the_way(all[*other]);
        let blocking: Vec<usize> = (0..all.len()).filter(is_blocking).collect();
        if blocking.is_empty() { Encounter::Nothing } else { Encounter::Uncommitted(blocking) }
    }

    /// Whether the transaction waits, directly or not, for itself.
    pub(super) fn is_deadlocked(&self, model: &Settlement, number: usize) -> bool {
        let all = self.transactions().len();
        // An orphan runs no further statement, and so waits for nothing.
        let first_orphan = all - self.orphans.len();
        let mut to_visit = vec![number];
        let mut visited = vec![false; all];
        while let Some(waiting) = to_visit.pop() {
            if waiting >= first_orphan {
                continue;
            }
            if let Encounter::Uncommitted(blocking) = self.encounter(model, waiting) {
                if blocking.contains(&number) {
                    return true;
                }
                to_visit.extend(
                    blocking.into_iter().filter(|other| !std::mem::replace(&mut visited[*other], true)),
                );
            }
        }
        false
    }

    pub(super) fn has_deadlock(&self, model: &Settlement) -> bool {
        let waiting = 0..self.transactions().len() - self.orphans.len();
        waiting.into_iter().any(|number| self.is_deadlocked(model, number))
    }

    /// The place of a release's transaction among all.
    pub(super) fn number_of_release(&self, release: usize) -> usize {
        self.workers.iter().flatten().filter(|batch| batch.transaction.is_some()).count() + release
    }

    /// The place of a batch's transaction among all.
    pub(super) fn number_of(&self, worker: usize, flight: usize) -> usize {
        let earlier = self.workers[..worker].iter().flatten().chain(&self.workers[worker][..flight]);
        earlier.filter(|batch| batch.transaction.is_some()).count()
    }
}
