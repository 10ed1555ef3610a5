//! Messages and batches: deliver, acknowledge, deliver again.

use super::{Action, Flight, Place, Rule, Settlement, State};

impl Settlement {
    pub(super) fn delivery_actions(&self, state: &State, actions: &mut Vec<Action>) {
        let ready = state.messages.iter().filter(|message| message.place == Place::Ready).count();
        for (worker, flights) in state.workers.iter().enumerate() {
            let may_take = match flights.as_slice() {
                [] => 1..=self.batch_max,
                // While a batch is in flight, the next one starts only if it is full, and only once the first has
                // locked its seats.
                [first] if self.in_flight > 1 && first.has_locked(self) => self.batch_max..=self.batch_max,
                _ => continue,
            };
            actions
                .extend(may_take.filter(|count| *count <= ready).map(|count| Action::Take { worker, count }));
        }
        for (worker, flights) in state.workers.iter().enumerate() {
            for (flight, batch) in flights.iter().enumerate() {
                let is_first = flight == 0 || !self.has(Rule::AcknowledgeInOrder);
                let is_due = batch.is_committed
                    || !self.has(Rule::AcknowledgeAfterCommit) && state.is_unacknowledged(batch);
                if is_first && is_due {
                    actions.push(Action::Acknowledge { worker, flight });
                }
            }
            if state.crashes_left > 0 && !flights.is_empty() {
                actions.push(Action::Crash { worker });
            }
        }
        if state.duplicates_left > 0 {
            let issued = state.messages.iter().filter(|message| message.place != Place::NotIssued);
            let tickets = issued.map(|message| message.ticket);
            actions.extend(tickets.map(|ticket| Action::Duplicate { ticket }));
        }
    }
}

impl State {
    /// The messages of a batch, in the order of the queue. A message that is delivered again keeps its place.
    pub(super) fn take(&mut self, worker: usize, count: usize) {
        let is_ready = |number: &usize| self.messages[*number].place == Place::Ready;
        let messages: Vec<usize> = (0..self.messages.len()).filter(is_ready).take(count).collect();
        for number in &messages {
            self.messages[*number].place = Place::Delivered;
            let is_settled = self.database.is_settled(self.messages[*number].ticket);
            self.seen.redelivered_after_commit |= is_settled;
        }
        let flight = Flight { messages, transaction: None, is_committed: false, rolled_back: 0 };
        self.workers[worker].push(flight);
        self.seen.two_in_flight |= self.workers[worker].len() > 1;
    }

    /// Acknowledges the batch and all earlier ones. A batch that is not committed is settled nevertheless.
    pub(super) fn acknowledge(&mut self, model: &Settlement, worker: usize, flight: usize) {
        for batch in &self.workers[worker][..=flight] {
            for number in &batch.messages {
                self.messages[*number].place = Place::Acknowledged;
            }
        }
        if self.workers[worker][flight].is_committed {
            self.workers[worker].remove(flight);
        } else {
            debug_assert!(!model.has(Rule::AcknowledgeAfterCommit));
        }
    }

    /// All batches of the worker are delivered again. Its transactions live on until the server notices.
    pub(super) fn crash(&mut self, worker: usize) {
        self.crashes_left -= 1;
        for batch in std::mem::take(&mut self.workers[worker]) {
            for number in batch.messages {
                let place = &mut self.messages[number].place;
                if *place == Place::Delivered {
                    *place = Place::Ready;
                }
            }
            self.orphans.extend(batch.transaction);
        }
    }

    fn is_unacknowledged(&self, batch: &Flight) -> bool {
        batch.messages.iter().any(|number| self.messages[*number].place == Place::Delivered)
    }
}
