//! The transaction that settles a batch.
//!
//! It first locks all the seats that the batch asks for, in the order of their ids, so that two batches that overlap
//! wait for each other and never in a circle. Only then, in later statements, it reads what had been settled before:
//! under READ COMMITTED each statement sees what was committed when it began, and a twin of one of our bookings asks
//! for the same seats, so the lock has put it behind us or before us. A twin whose seats do not exist locks nothing; it
//! meets us at the primary key of `bookings`, and whoever is second rolls back and looks again.

mod broken;
mod locks;
mod read;
mod write;

use std::collections::HashMap;

use hamro_shared::domain::{
    Booking, Clock, Outcome, Rejection, SettledTicket, SoldSeat, TicketId, Timestamp,
};
use hamro_shared::faults::{self, Point, Rule};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

pub use self::locks::Locking;
use self::locks::{Locked, lock_seats};
use self::write::Sales;
use crate::allocation::{Decision, Settled, allocate};
use crate::batch::{Batch, DeadLetter, DeathReason, Order};
use crate::turn::Turn;

/// What a transaction has committed.
#[derive(Debug, Default)]
pub struct Committed {
    /// The tickets that were settled now; one that had been before is left out.
    pub tickets: Vec<SettledTicket>,
    /// How many bookings were sold. A retry that shares an earlier sale is not counted.
    pub sold: usize,
    /// Bookings that want a seat which another session holds, each once. They are not settled.
    pub deferred: Vec<Order>,
}

/// Settles the batch: when this returns, each of its tickets has its one outcome, committed, or is deferred. Passes the `turn` on, which has
/// come, when the seats are locked.
pub async fn settle(
    connection: &mut PgConnection,
    clock: &Clock,
    locking: &Locking,
    batch: &Batch,
    turn: &mut Turn,
) -> Result<Committed, sqlx::Error> {
    faults::pass(Point::BeforeBegin);
    let mut transaction = connection.begin().await?;
    if faults::is_broken(Rule::LockInOrder) {
        broken::lock_as_they_come(&mut transaction, &batch.orders).await?;
    }
    let Locked { seats, held } = lock_seats(&mut transaction, &batch.orders, locking).await?;
    turn.pass();
    if faults::is_broken(Rule::LookUp) {
        broken::forget_settled(&mut transaction, &batch.orders).await?;
    }
    let settled = read::settled(&mut transaction, batch).await?;
    let mut stock = read::stock(&mut transaction, seats).await?;
    stock.held = held;
    let now = clock.now();
    let unread = batch.tickets_of_letters(|ticket| settled.tickets.contains_key(&ticket));
    let letters = batch.letters_to_keep(&settled);
    let due = if faults::is_broken(Rule::Deadline) { broken::before_all_deadlines() } else { now };
    let decisions = allocate(&batch.orders, stock, settled, due);
    let shared = read::shared_outcomes(&mut transaction, &batch.orders, &decisions).await?;

    let sales = write::sales(&mut transaction, &batch.orders, &decisions, now).await?;
    let mut settlement = Settlement { dead_letters: letters, outcomes: shared, ..Settlement::default() };
    for (order, decision) in batch.orders.iter().zip(decisions) {
        settlement.conclude(order, decision, &sales, now)?;
    }
    settlement
        .conclusions
        .extend(unread.into_iter().map(|(ticket, outcome)| Conclusion::of_letter(ticket, outcome, now)));

    settlement.sort();
    write::bookings(&mut transaction, &settlement.conclusions).await?;
    write::dead_letters(&mut transaction, &settlement.dead_letters, now).await?;
    write::move_counters(&mut transaction, &sales).await?;
    faults::pass(Point::BeforeCommit);
    transaction.commit().await?;
    faults::pass(Point::AfterCommit);
    let tickets = settlement.conclusions.into_iter().map(|conclusion| conclusion.ticket).collect();
    Ok(Committed { tickets, sold: sales.len(), deferred: settlement.deferred })
}

/// What is to be written besides the sales.
#[derive(Default)]
struct Settlement<'a> {
    conclusions: Vec<Conclusion<'a>>,
    dead_letters: Vec<DeadLetter>,
    /// The outcomes that a retry may share: those of this batch so far, and the earlier ones that it needs, or why one of
    /// these cannot be read.
    outcomes: HashMap<TicketId, Result<Outcome, String>>,
    deferred: Vec<Order>,
}

/// The end of one ticket, as it is to be written.
struct Conclusion<'a> {
    ticket: SettledTicket,
    /// The order it is for; `None` where the envelope could not be read.
    order: Option<&'a Order>,
    alias_of: Option<TicketId>,
    holds_key: bool,
}

impl<'a> Settlement<'a> {
    /// Puts the rows into the one order in which all transactions insert them: by the key that the order came with, then by
    /// ticket.
    ///
    /// An inserted row waits for a transaction that has inserted the same ticket, and then for one that has inserted the same
    /// key. A ticket always comes with the same key, so every ticket and every key belongs to one group of rows, and
    /// transactions go through the groups in one order: none waits in an earlier group while it holds a later one. Within a
    /// group, tickets come in one order too. What remains is a row that holds the key between two tickets: one transaction
    /// may hold a ticket and wait for the key, and another hold the key and wait for that ticket. For that the ticket must be
    /// in both batches, so both have asked for the same seats, and the locks on the seats have already made one of
    /// them wait for the other. Only if none of these seats exists do they get so far; then Postgres ends one of them, and it
    /// is tried again.
    fn sort(&mut self) {
        let key = |conclusion: &Conclusion| conclusion.order.and_then(|order| order.key).map(|key| key.0);
        self.conclusions.sort_by_key(|conclusion| (key(conclusion), conclusion.ticket.ticket_id));
    }

    fn conclude(
        &mut self,
        order: &'a Order,
        decision: Decision,
        sales: &Sales,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let ticket_id = order.ticket.id;
        let mut alias_of = None;
        let mut holds_key = false;
        let outcome = match decision {
            Decision::AlreadySettled => return Ok(()),
            Decision::TicketReused => {
                tracing::error!(ticket.log_id = %ticket_id, "ticket {ticket_id} came again with another request");
                let detail = "the ticket has been settled for another request; its outcome stands";
                self.dead_letters.push(order.dead_letter(DeathReason::TicketReused, detail));
                return Ok(());
            }
            Decision::Sell(seats) => {
                holds_key = true;
                let sale = sales.number_of(ticket_id).ok_or(sqlx::Error::RowNotFound)?;
                Outcome::Confirmed { booking: order.booking(sale, seats, now) }
            }
            Decision::Reject(rejection) => {
                holds_key = rejection != Rejection::IdempotencyKeyReused;
                Outcome::Rejected { rejection }
            }
            Decision::Expire => Outcome::Expired,
            Decision::Defer => {
                let is_known = |known: &Order| (known.ticket.id, known.hash) == (order.ticket.id, order.hash);
                if !self.deferred.iter().any(is_known) {
                    self.deferred.push(order.clone());
                }
                return Ok(());
            }
            Decision::ShareOutcomeOf(first) => match self.outcomes.get(&first) {
                Some(Ok(outcome)) => {
                    alias_of = Some(first);
                    outcome.clone()
                }
                unreadable => {
                    let reason = unreadable.and_then(|outcome| outcome.as_ref().err());
                    let reason = reason.map_or("it is gone", String::as_str);
                    let detail =
                        format!("it shares the outcome of ticket {first}, which cannot be read: {reason}");
                    self.fail(order, DeathReason::UnreadableOutcome, &detail)
                }
            },
            Decision::FailWithoutPrice(tier) => {
                let detail = format!("the price of ticket tier {tier} is no number");
                self.fail(order, DeathReason::UnreadablePrice, &detail)
            }
        };
        if holds_key && order.key.is_some() {
            self.outcomes.insert(ticket_id, Ok(outcome.clone()));
        }
        self.conclusions.push(Conclusion {
            ticket: SettledTicket { ticket_id, settled_at: now, outcome },
            order: Some(order),
            alias_of,
            holds_key,
        });
        Ok(())
    }

    /// Keeps the order as a dead letter, for a fault of ours that follows it alone.
    fn fail(&mut self, order: &Order, reason: DeathReason, detail: &str) -> Outcome {
        self.dead_letters.push(order.dead_letter(reason, detail));
        Outcome::Failed
    }
}

impl Conclusion<'_> {
    /// Names only the ticket, so that nothing else of the booking can be what the database refuses.
    fn of_letter(ticket_id: TicketId, outcome: Outcome, now: Timestamp) -> Self {
        let ticket = SettledTicket { ticket_id, settled_at: now, outcome };
        Self { ticket, order: None, alias_of: None, holds_key: false }
    }
}

impl Order {
    fn booking(&self, sale: i64, seats: Vec<SoldSeat>, sold_at: Timestamp) -> Booking {
        let (name, email) = (self.request.user_name().clone(), self.request.user_email().clone());
        Booking::of_sale(sale, name, email, sold_at, seats)
    }
}

impl Batch {
    /// The tickets, each once, that end by a dead letter, unless they had been settled or come with a readable envelope too.
    fn tickets_of_letters(&self, is_settled: impl Fn(TicketId) -> bool) -> Vec<(TicketId, Outcome)> {
        let mut tickets: Vec<(TicketId, Outcome)> = self
            .dead_letters
            .iter()
            .filter_map(|letter| letter.ticket.map(|ticket| (ticket, letter.reason.outcome())))
            .collect();
        tickets.sort_by_key(|(ticket, _)| *ticket);
        tickets.dedup_by_key(|(ticket, _)| *ticket);
        tickets.retain(|(ticket, _)| {
            !is_settled(*ticket) && self.orders.iter().all(|order| order.ticket.id != *ticket)
        });
        tickets
    }

    /// All dead letters but those of bookings that were set aside and have been decided by somebody else in the meantime. One
    /// that was only fenced off at its deadline, by a client's request for its status, was not.
    fn letters_to_keep(&self, settled: &Settled) -> Vec<DeadLetter> {
        let is_decided = |letter: &DeadLetter| {
            letter.reason == DeathReason::SetAside
                && letter.ticket.is_some_and(|ticket| matches!(settled.tickets.get(&ticket), Some(Some(_))))
        };
        self.dead_letters.iter().filter(|letter| !is_decided(letter)).cloned().collect()
    }
}
