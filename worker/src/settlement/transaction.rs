//! The transaction that settles a batch.
//!
//! It first locks every seat that the batch requests, in the order of their ids, so that overlapping batches wait for
//! each other and never deadlock. It reads prior decisions in later statements: under READ COMMITTED a statement sees
//! what was committed when it began. A duplicate of one of our bookings requests the same seats, so the locks order it
//! before or after this batch. A duplicate whose seats do not exist locks nothing; it conflicts on the primary key of
//! `bookings`, and the later transaction rolls back and is tried again.
//!
//! If a concert limits the seats of a customer, the customers are locked next, and their seats are counted
//! ([`customer_limit`](super::customer_limit)).

use hamro_shared::domain::{Clock, SettledTicket};
use hamro_shared::fault_point;
use hamro_shared::queue::AnnouncedSales;
use sqlx::Connection;
use sqlx::postgres::PgConnection;

use super::allocation::allocate;
use super::announced_sales::announced_sales;
use super::batch::{Batch, BookingCommand, DeadLetterReason};
use super::customer_limit::{CustomerLimit, lock_customers};
use super::error_class::SettleError;
use super::lock_order::LockTurn;
use super::results::{BatchResults, TicketResult};
use super::seat_locks::{Locked, Locking, lock_seats};
use super::{read, write};

/// What a transaction has committed.
#[derive(Debug, Default)]
pub struct Committed {
    /// The tickets settled by this transaction, without those settled earlier.
    pub tickets: Vec<SettledTicket>,
    /// How many bookings were sold. A retry that shares an earlier sale is not counted.
    pub sold: usize,
    /// What was sold, for instances that reject early.
    pub announced: Option<AnnouncedSales>,
    /// Bookings of seats that another session has locked, each once. They are not settled.
    pub deferred: Vec<BookingCommand>,
    /// Why dead letters were stored, without those that were stored earlier and are open.
    pub dead_letters: Vec<DeadLetterReason>,
}

/// Settles the batch. When this returns, each of its tickets has its one committed outcome or is deferred. `turn` must
/// have been acquired; it is released once the seats are locked.
pub async fn settle(
    connection: &mut PgConnection,
    clock: &Clock,
    locking: &Locking,
    limit: CustomerLimit,
    batch: &Batch,
    turn: &mut LockTurn,
) -> Result<Committed, SettleError> {
    fault_point!(BeforeBegin);
    let mut transaction = connection.begin().await?;
    #[cfg(feature = "faults")]
    let batch = &super::fault_injection::disable_safeguards(&mut transaction, batch).await?;
    let Locked { seats, held } = lock_seats(&mut transaction, &batch.commands, locking).await?;
    turn.release();

    let prior = read::prior_decisions(&mut transaction, batch).await?;
    let (mut inventory, versions) = read::inventory(&mut transaction, &batch.commands, seats, limit).await?;
    inventory.held = held;
    lock_customers(&mut transaction, &batch.commands, &mut inventory, &prior).await?;
    let now = clock.now();
    let letter_outcomes = batch.tickets_of_letters(|ticket| prior.tickets.contains_key(&ticket));
    let dead_letters = batch.letters_to_store(|ticket| {
        // A ticket that was only fenced, at its deadline by a client's status request, has no request hash.
        matches!(prior.tickets.get(&ticket), Some(Some(_)))
    });
    let decisions = allocate(&batch.commands, inventory, prior, now);
    let announced = announced_sales(&versions, &batch.commands, &decisions);
    let outcomes = read::shared_outcomes(&mut transaction, &batch.commands, &decisions).await?;

    let sales = write::insert_sales(&mut transaction, &batch.commands, &decisions, now).await?;
    let mut results = BatchResults { dead_letters, outcomes, ..BatchResults::default() };
    for (command, decision) in batch.commands.iter().zip(decisions) {
        results.record(command, decision, &sales, now)?;
    }
    let letter_results =
        letter_outcomes.into_iter().map(|(ticket, outcome)| TicketResult::of_letter(ticket, outcome, now));
    results.tickets.extend(letter_results);
    results.sort();
    write::insert_bookings(&mut transaction, &results.tickets).await?;
    let dead_letters = write::insert_dead_letters(&mut transaction, &results.dead_letters, now).await?;
    write::subtract_sold(&mut transaction, &sales).await?;
    fault_point!(BeforeCommit);
    transaction.commit().await?;
    fault_point!(AfterCommit);

    let tickets = results.tickets.into_iter().map(|result| result.ticket).collect();
    let (sold, deferred) = (sales.len(), results.deferred);
    Ok(Committed { tickets, sold, announced, deferred, dead_letters })
}
