//! The transaction that settles a batch.
//!
//! It first locks all the seats that the batch asks for, in the order of their ids, so that two batches that overlap
//! wait for each other and never in a circle. Only then, in later statements, it reads what had been settled before:
//! under READ COMMITTED each statement sees what was committed when it began, and a twin of one of our bookings asks
//! for the same seats, so the lock has put it behind us or before us. A twin whose seats do not exist locks nothing; it
//! meets us at the primary key of `bookings`, and whoever is second rolls back and looks again.

use hamro_shared::domain::{Clock, SettledTicket};
use hamro_shared::faults::{self, Point, Rule};
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::allocation::allocate;
use super::batch::{Batch, BookingCommand};
use super::lock_order::LockTurn;
use super::results::{BatchResults, TicketResult};
use super::seat_locks::{Locked, Locking, lock_seats};
use super::{fault_injection, read, write};

/// What a transaction has committed.
#[derive(Debug, Default)]
pub struct Committed {
    /// The tickets that were settled now; one that had been before is left out.
    pub tickets: Vec<SettledTicket>,
    /// How many bookings were sold. A retry that shares an earlier sale is not counted.
    pub sold: usize,
    /// Bookings that want a seat which another session holds, each once. They are not settled.
    pub deferred: Vec<BookingCommand>,
}

/// Settles the batch: when this returns, each of its tickets has its one outcome, committed, or is deferred. Passes the `turn` on, which has
/// come, when the seats are locked.
pub async fn settle(
    connection: &mut PgConnection,
    clock: &Clock,
    locking: &Locking,
    batch: &Batch,
    turn: &mut LockTurn,
) -> Result<Committed, sqlx::Error> {
    faults::pass(Point::BeforeBegin);
    let mut transaction = connection.begin().await?;
    if faults::is_broken(Rule::LockInOrder) {
        fault_injection::lock_as_they_come(&mut transaction, &batch.commands).await?;
    }
    let Locked { seats, held } = lock_seats(&mut transaction, &batch.commands, locking).await?;
    turn.release();
    if faults::is_broken(Rule::LookUp) {
        fault_injection::forget_settled(&mut transaction, &batch.commands).await?;
    }
    let settled = read::settled(&mut transaction, batch).await?;
    let mut inventory = read::inventory(&mut transaction, seats).await?;
    inventory.held = held;
    let now = clock.now();
    let unread = batch.tickets_of_letters(|ticket| settled.tickets.contains_key(&ticket));
    let letters = batch.letters_to_keep(&settled);
    let due = if faults::is_broken(Rule::Deadline) { fault_injection::before_all_deadlines() } else { now };
    let decisions = allocate(&batch.commands, inventory, settled, due);
    let shared = read::shared_outcomes(&mut transaction, &batch.commands, &decisions).await?;

    let sales = write::sales(&mut transaction, &batch.commands, &decisions, now).await?;
    let mut results = BatchResults { dead_letters: letters, outcomes: shared, ..BatchResults::default() };
    for (command, decision) in batch.commands.iter().zip(decisions) {
        results.record(command, decision, &sales, now)?;
    }
    results
        .tickets
        .extend(unread.into_iter().map(|(ticket, outcome)| TicketResult::of_letter(ticket, outcome, now)));

    results.sort();
    write::bookings(&mut transaction, &results.tickets).await?;
    write::dead_letters(&mut transaction, &results.dead_letters, now).await?;
    write::move_counters(&mut transaction, &sales).await?;
    faults::pass(Point::BeforeCommit);
    transaction.commit().await?;
    faults::pass(Point::AfterCommit);
    let tickets = results.tickets.into_iter().map(|result| result.ticket).collect();
    Ok(Committed { tickets, sold: sales.len(), deferred: results.deferred })
}
