//! The transaction that settles a batch.
//!
//! It first locks all the seats that the batch asks for, in the order of their ids, so that two batches that overlap
//! wait for each other and never in a circle. Only then, in later statements, it reads what had been settled before:
//! under READ COMMITTED each statement sees what was committed when it began, and a twin of one of our bookings asks
//! for the same seats, so the lock has put it behind us or before us. A twin whose seats do not exist locks nothing; it
//! meets us at the primary key of `bookings`, and whoever is second rolls back and looks again.

mod read;
mod write;

use std::collections::HashMap;

use hamro_shared::database::tickets;
use hamro_shared::domain::{Booking, Clock, Outcome, SettledTicket, SoldSeat, TicketId, Timestamp};
use sqlx::postgres::{PgConnection, PgPool};

use crate::allocation::{Decision, allocate};
use crate::batch::{Batch, DeadLetter, DeathReason, Order};

/// Settles the batch: when this returns, each of its tickets has its one outcome, committed. Returns the tickets that
/// were settled now; one that had been before is left out.
pub async fn settle(pool: &PgPool, clock: &Clock, batch: &Batch) -> Result<Vec<SettledTicket>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    let seats = read::lock_seats(&mut transaction, &batch.orders).await?;
    let settled = read::settled(&mut transaction, batch).await?;
    let stock = read::stock(&mut transaction, seats).await?;
    let now = clock.now();
    let failed = batch.failed_tickets(|ticket| settled.tickets.contains_key(&ticket));
    let decisions = allocate(&batch.orders, stock, settled, now);

    let sales = write::sales(&mut transaction, &batch.orders, &decisions, now).await?;
    let mut settlement = Settlement::default();
    for (order, decision) in batch.orders.iter().zip(decisions) {
        settlement.conclude(&mut transaction, order, decision, &sales, now).await?;
    }
    for dead_letter in &batch.dead_letters {
        // If its ticket had been settled, this is the same message again, and so was the dead letter written.
        if dead_letter.ticket.is_none_or(|ticket| failed.contains(&ticket)) {
            settlement.dead_letters.push(dead_letter.clone());
        }
    }
    settlement.conclusions.extend(failed.into_iter().map(|ticket| Conclusion::failed(ticket, now)));

    write::bookings(&mut transaction, &settlement.conclusions).await?;
    write::dead_letters(&mut transaction, &settlement.dead_letters, now).await?;
    write::move_counters(&mut transaction, &sales).await?;
    transaction.commit().await?;
    Ok(settlement.conclusions.into_iter().map(|conclusion| conclusion.ticket).collect())
}

/// A sale of this transaction, by its number.
struct Sale {
    id: i64,
    seats: Vec<SoldSeat>,
}

/// What is to be written besides the sales.
#[derive(Default)]
struct Settlement {
    conclusions: Vec<Conclusion>,
    dead_letters: Vec<DeadLetter>,
}

/// The end of one ticket, as it is to be written.
struct Conclusion {
    ticket: SettledTicket,
    /// The order it is for; `None` where the envelope could not be read.
    order: Option<Order>,
    alias_of: Option<TicketId>,
    holds_key: bool,
}

impl Settlement {
    async fn conclude(
        &mut self,
        connection: &mut PgConnection,
        order: &Order,
        decision: Decision,
        sales: &HashMap<TicketId, Sale>,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let ticket_id = order.ticket.id;
        let mut alias_of = None;
        let mut holds_key = false;
        let outcome = match decision {
            Decision::AlreadySettled => return Ok(()),
            Decision::TicketReused => {
                tracing::error!(ticket.id = %ticket_id, "ticket {ticket_id} came again with another request");
                self.dead_letters.push(order.reused());
                return Ok(());
            }
            Decision::Sell(_) => {
                holds_key = true;
                let sale = sales.get(&ticket_id).ok_or(sqlx::Error::RowNotFound)?;
                Outcome::Confirmed { booking: order.booking(sale, now) }
            }
            Decision::Reject(rejection) => {
                holds_key = !matches!(rejection, hamro_shared::domain::Rejection::IdempotencyKeyReused);
                Outcome::Rejected { rejection }
            }
            Decision::Expire => Outcome::Expired,
            Decision::ShareOutcomeOf(first) => {
                alias_of = Some(first);
                self.outcome_of(connection, first).await?
            }
        };
        self.conclusions.push(Conclusion {
            ticket: SettledTicket { ticket_id, settled_at: now, outcome },
            order: Some(order.clone()),
            alias_of,
            holds_key,
        });
        Ok(())
    }

    /// The outcome of a ticket that was decided before, in this batch or in an earlier one.
    async fn outcome_of(
        &self,
        connection: &mut PgConnection,
        ticket: TicketId,
    ) -> Result<Outcome, sqlx::Error> {
        if let Some(here) = self.conclusions.iter().find(|conclusion| conclusion.ticket.ticket_id == ticket) {
            return Ok(here.ticket.outcome.clone());
        }
        let earlier = tickets::find_settled(connection, &[ticket]).await?.pop();
        earlier.map(|settled| settled.outcome).ok_or(sqlx::Error::RowNotFound)
    }
}

impl Conclusion {
    fn failed(ticket_id: TicketId, now: Timestamp) -> Self {
        let ticket = SettledTicket { ticket_id, settled_at: now, outcome: Outcome::Failed };
        Self { ticket, order: None, alias_of: None, holds_key: false }
    }
}

impl Order {
    fn booking(&self, sale: &Sale, sold_at: Timestamp) -> Booking {
        let (name, email) = (self.request.user_name().clone(), self.request.user_email().clone());
        Booking::of_sale(sale.id, name, email, sold_at, sale.seats.clone())
    }

    fn reused(&self) -> DeadLetter {
        DeadLetter {
            ticket: Some(self.ticket.id),
            reason: DeathReason::TicketReused,
            detail: "the ticket had been settled for another request; its outcome stands".to_owned(),
            payload: self.payload.as_bytes().to_owned(),
        }
    }
}

impl Batch {
    /// The tickets, each once, that end as failed: those of unreadable envelopes, unless they had been settled or
    /// come with a readable one too.
    fn failed_tickets(&self, is_settled: impl Fn(TicketId) -> bool) -> Vec<TicketId> {
        let mut failed: Vec<TicketId> = self.dead_letters.iter().filter_map(|letter| letter.ticket).collect();
        failed.sort_unstable();
        failed.dedup();
        failed.retain(|ticket| {
            !is_settled(*ticket) && self.orders.iter().all(|order| order.ticket.id != *ticket)
        });
        failed
    }
}
