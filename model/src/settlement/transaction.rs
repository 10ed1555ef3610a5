//! A transaction: its statements one by one.

use hamro_shared::domain::{Rejection, TicketId};
use hamro_worker::settlement::allocation::{Decision, PriorDecisions, allocate};

use super::{
    ATTEMPTS_MAX, Action, Database, FREE_FROM, Flight, Id, NOT_YET_FREE, Outcome, Reason, Rule, Settlement,
    State,
};
use crate::bookings::{free_from, inventory, moment};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Transaction {
    tickets: Vec<Id>,
    /// The locked seats, in order.
    pub(super) locked: Vec<Locked>,
    /// An administrator releases the sale of its only ticket.
    pub(super) is_release: bool,
    /// The seats to free, once they are read, one bit each.
    pub(super) to_free: Option<u8>,
    /// Which tickets were settled, one bit each.
    settled: Option<u8>,
    /// Which tickets hold a key, one bit each.
    key_holders: Option<u8>,
    /// What to write.
    plan: Option<Vec<(Id, Outcome)>>,
    has_inserted_sales: bool,
    /// How many rows of the plan are inserted.
    inserted: usize,
}

/// A seat as it was when it was locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Locked {
    seat: u8,
    is_sold: bool,
    was_released: bool,
}

/// What a statement meets.
pub(super) enum Encounter {
    Nothing,
    /// A committed row with the same unique value.
    Conflict,
    /// Uncommitted work of these transactions, by their numbers.
    Uncommitted(Vec<usize>),
}

/// The next statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Lock(u8),
    LookUpTickets,
    LookUpKeys,
    Decide,
    InsertSales,
    InsertRow(Id, Outcome),
    /// Reads which seats the sale still has.
    ReadSale,
    Commit,
}

impl Flight {
    pub(super) fn roll_back(&mut self) {
        self.transaction = None;
        self.rolled_back += 1;
    }

    /// Whether the batch's turn to lock its seats is over. It is, once and for all, when it was rolled back.
    pub(super) fn has_locked(&self, model: &Settlement) -> bool {
        let locking = |transaction: &Transaction| matches!(transaction.next(model), Step::Lock(_));
        self.is_committed || self.rolled_back > 0 || self.transaction.as_ref().is_some_and(|it| !locking(it))
    }

    pub(super) fn is_endless(&self) -> bool {
        self.rolled_back >= ATTEMPTS_MAX
    }
}

impl Transaction {
    pub(super) fn begin(tickets: Vec<Id>) -> Self {
        Self {
            tickets,
            locked: Vec::new(),
            is_release: false,
            to_free: None,
            settled: None,
            key_holders: None,
            plan: None,
            has_inserted_sales: false,
            inserted: 0,
        }
    }

    /// The sale that it releases.
    pub(super) fn released_sale(&self) -> Option<Id> {
        self.tickets.first().copied().filter(|_| self.is_release)
    }

    pub(super) fn next(&self, model: &Settlement) -> Step {
        if self.is_release {
            return self.next_of_release(model);
        }
        let locks_first = model.has(Rule::LookUpAfterLocking);
        let to_lock = self.seats(model).into_iter().nth(self.locked.len()).map(Step::Lock);
        let look_up = match (self.settled, self.key_holders) {
            (None, _) => Some(Step::LookUpTickets),
            (_, None) => Some(Step::LookUpKeys),
            _ => None,
        };
        let first = if locks_first { to_lock.or(look_up) } else { look_up.or(to_lock) };
        let Some(plan) = &self.plan else {
            return first.unwrap_or(Step::Decide);
        };
        if !self.has_inserted_sales {
            return Step::InsertSales;
        }
        plan.get(self.inserted).map_or(Step::Commit, |(ticket, outcome)| Step::InsertRow(*ticket, *outcome))
    }

    /// The seats to lock, in order. Seats that do not exist have no rows to lock.
    pub(super) fn seats(&self, model: &Settlement) -> Vec<u8> {
        let wanted = self.tickets.iter().flat_map(|ticket| model.requests[usize::from(*ticket)].seats);
        let mut seats: Vec<u8> = Vec::new();
        for seat in wanted.copied().filter(|seat| *seat < model.seats) {
            if !seats.contains(&seat) {
                seats.push(seat);
            }
        }
        if model.has(Rule::LockInOrder) {
            seats.sort_unstable();
        }
        seats
    }

    pub(super) fn holds_lock(&self, seat: u8) -> bool {
        self.locked.iter().any(|locked| locked.seat == seat)
    }

    pub(super) fn sells(&self, model: &Settlement, seat: u8) -> bool {
        self.has_inserted_sales && self.sold(model).any(|(sold, _)| sold == seat)
    }

    /// The seats that the plan sells, each with its ticket.
    pub(super) fn sold<'a>(&'a self, model: &'a Settlement) -> impl Iterator<Item = (u8, Id)> + 'a {
        let sales = self.plan.iter().flatten().filter(|(_, outcome)| *outcome == Outcome::Sold);
        sales.flat_map(|(ticket, _)| {
            model.requests[usize::from(*ticket)].seats.iter().map(|seat| (*seat, *ticket))
        })
    }

    pub(super) fn inserted(&self) -> &[(Id, Outcome)] {
        self.plan.as_deref().map_or(&[], |plan| &plan[..self.inserted])
    }

    /// Decides as a worker does, by what this transaction has read.
    fn decide(&mut self, model: &Settlement) {
        let contains = |ids: Option<u8>, id: Id| ids.is_some_and(|ids| ids & 1 << id != 0);
        let known = (0..).zip(&model.commands);
        let mut prior = PriorDecisions::default();
        for (id, command) in known {
            if contains(self.settled, id) {
                prior.tickets.insert(command.ticket.id, Some(command.hash));
            }
            if let (true, Some(key)) = (contains(self.key_holders, id), command.key_digest) {
                prior.keys.insert(key, (command.ticket.id, Some(command.hash)));
            }
        }
        let batch: Vec<_> =
            self.tickets.iter().map(|ticket| model.commands[usize::from(*ticket)].clone()).collect();
        let mut inventory = inventory(self.locked.iter().map(|locked| (locked.seat, locked.is_sold)));
        for locked in self.locked.iter().filter(|locked| locked.was_released) {
            if model.has(Rule::ReleasedSeatsNeedLaterTickets) {
                free_from(&mut inventory, locked.seat, moment(FREE_FROM));
            }
        }
        let decisions = allocate(&batch, inventory, prior, moment(0));
        let number_of = |ticket: TicketId| (0..).zip(&model.commands).find(|(_, it)| it.ticket.id == ticket);
        let outcome = |decision| match decision {
            Decision::Sell(_) => Some(Outcome::Sold),
            Decision::ShareOutcomeOf(first) => number_of(first).map(|(id, _)| Outcome::SharedWith(id)),
            Decision::Reject(Rejection::SeatsNotFound { .. }) => Some(Outcome::Rejected(Reason::NotFound)),
            Decision::Reject(Rejection::IdempotencyKeyReused) => Some(Outcome::Rejected(Reason::KeyReused)),
            Decision::Reject(_) => Some(Outcome::Rejected(Reason::Taken { by: 0 })),
            _ => None,
        };
        let decided = self.tickets.iter().zip(decisions);
        let mut plan: Vec<(Id, Outcome)> =
            decided.filter_map(|(ticket, decision)| Some((*ticket, outcome(decision)?))).collect();
        if model.has(Rule::InsertInOrder) {
            plan.sort_by_key(|(ticket, _)| (model.key(*ticket), *ticket));
        }
        self.plan = Some(plan);
        // With the seats locked, nothing can be in the way.
        self.has_inserted_sales = model.has(Rule::LockSeats) || self.sold(model).next().is_none();
    }
}

impl Settlement {
    pub(super) fn transaction_actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (worker, flights) in state.workers.iter().enumerate() {
            for (flight, batch) in flights.iter().enumerate() {
                if batch.is_committed || batch.is_endless() {
                    continue;
                }
                let Some(transaction) = &batch.transaction else {
                    actions.push(Action::Step { worker, flight });
                    continue;
                };
                if transaction.next(self) == Step::Commit {
                    actions.push(Action::Commit { worker, flight });
                    if state.losses_left > 0 {
                        actions.push(Action::CommitWithoutResponse { worker, flight });
                    }
                } else {
                    let number = state.number_of(worker, flight);
                    if !matches!(state.encounter(self, number), Encounter::Uncommitted(_)) {
                        actions.push(Action::Step { worker, flight });
                    } else if state.is_deadlocked(self, number) {
                        actions.push(Action::Abort { worker, flight });
                    }
                }
                if state.losses_left > 0 {
                    actions.push(Action::LoseSession { worker, flight });
                }
            }
        }
        for (orphan, transaction) in state.orphans.iter().enumerate() {
            actions.push(Action::AbortOrphan { orphan });
            if transaction.next(self) == Step::Commit {
                actions.push(Action::CommitOrphan { orphan });
            }
        }
    }
}

impl State {
    /// The next statement of a batch. The first one begins its transaction.
    pub(super) fn step(&mut self, model: &Settlement, worker: usize, flight: usize) {
        let batch = &mut self.workers[worker][flight];
        let tickets = batch.messages.iter().map(|number| self.messages[*number].ticket).collect();
        let mut transaction = batch.transaction.get_or_insert_with(|| Transaction::begin(tickets)).clone();
        match self.encounter(model, self.number_of(worker, flight)) {
            // The first statement: the transaction has begun, and waits.
            Encounter::Uncommitted(_) => {}
            Encounter::Conflict => {
                self.seen.conflict = true;
                self.workers[worker][flight].roll_back();
            }
            Encounter::Nothing => {
                self.database.run(model, &mut transaction);
                if transaction.next(model) == Step::Decide {
                    transaction.decide(model);
                }
                self.workers[worker][flight].transaction = Some(transaction);
            }
        }
    }
}

impl Database {
    /// Runs a statement that nothing stands in the way of.
    pub(super) fn run(&self, model: &Settlement, transaction: &mut Transaction) {
        let tickets = |condition: &dyn Fn(&Outcome) -> bool| {
            let numbered = (0..).zip(&self.rows);
            numbered
                .filter(|(_, rows)| rows.iter().any(condition))
                .fold(0, |ids, (id, _): (Id, _)| ids | 1 << id)
        };
        match transaction.next(model) {
            Step::Lock(seat) => {
                let has = |seats: u8| seats & 1 << seat != 0;
                let locked = Locked { seat, is_sold: has(self.marked), was_released: has(self.released) };
                transaction.locked.push(locked);
            }
            Step::ReadSale => transaction.to_free = Some(self.live_seats(transaction.tickets[0])),
            Step::LookUpTickets => {
                transaction.settled =
                    Some(if model.has(Rule::LookUpTickets) { tickets(&|_| true) } else { 0 });
            }
            Step::LookUpKeys => {
                let holders = tickets(&|outcome| outcome.holds_key());
                transaction.key_holders = Some(if model.has(Rule::LookUpKeys) { holders } else { 0 });
            }
            Step::InsertSales => transaction.has_inserted_sales = true,
            Step::InsertRow(..) => transaction.inserted += 1,
            Step::Decide | Step::Commit => {}
        }
    }

    pub(super) fn commit(&mut self, model: &Settlement, transaction: &Transaction) {
        if let Some(sale) = transaction.released_sale() {
            self.release(model, sale, transaction.to_free.unwrap_or_default());
        }
        for (seat, ticket) in transaction.sold(model) {
            self.sales[usize::from(seat)].push(ticket);
            self.marked |= 1 << seat;
        }
        for (ticket, outcome) in transaction.plan.iter().flatten() {
            let outcome = match outcome {
                Outcome::Rejected(Reason::Taken { .. }) => {
                    let seats = model.requests[usize::from(*ticket)].seats.iter();
                    let owners = seats.clone().flat_map(|seat| &self.sales[usize::from(*seat)]);
                    let mut by = owners.fold(0, |by, owner| by | 1 << owner);
                    let was_released = |seat: &u8| self.released & 1 << *seat != 0;
                    if !model.requests[usize::from(*ticket)].is_late && seats.clone().any(was_released) {
                        by |= NOT_YET_FREE;
                    }
                    Outcome::Rejected(Reason::Taken { by })
                }
                outcome => *outcome,
            };
            self.rows[usize::from(*ticket)].push(outcome);
        }
    }
}
