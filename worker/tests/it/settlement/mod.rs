//! The transaction that settles a batch, against a real Postgres. This file has what its tests share.

mod announced_sales;
mod concert_times;
mod customer_limit;
mod earlier_keys;
mod expected_total;
mod failures;
mod metrics;
mod outcomes;
mod retries;
mod rows;
mod set_aside;
mod stored_rows;
mod stuck_seats;

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use hamro_shared::database::{MIGRATOR, Sessions, seed, tickets};
use hamro_shared::domain::{
    BookingRequest, Clock, CustomerName, Email, IdempotencyKey, Outcome, Rejection, SeatId, SeatLabel,
    SettledTicket, Ticket, TicketId, TicketKeys, Timestamp,
};
use hamro_shared::queue::Envelope;
use hamro_worker::readiness::Readiness;
use hamro_worker::settlement::batch::{Batch, BookingCommand, DeadLetter, DeadLetterReason};
use hamro_worker::settlement::customer_limit::CustomerLimit;
use hamro_worker::settlement::error_class::{ErrorClass, SettleError};
use hamro_worker::settlement::executor::{BatchExecutor, Interrupted};
use hamro_worker::settlement::lock_order::LockTurn;
use hamro_worker::settlement::seat_locks::Locking;
use hamro_worker::settlement::transaction;
use sqlx::PgPool;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

/// The time of all bookings. It is the current one, because the demo concerts are in the future of the database.
fn now() -> Timestamp {
    static NOW: LazyLock<Timestamp> = LazyLock::new(|| Clock::system().now());
    *NOW
}

fn clock() -> Clock {
    Clock::stopped_at(now())
}

fn ticket() -> Ticket {
    let keys = TicketKeys::parse(&"5e".repeat(32)).unwrap();
    Ticket { id: keys.issue(now()), deadline: now() + Duration::from_mins(15) }
}

fn command(customer: &str, seats: &[i32]) -> BookingCommand {
    command_with(ticket(), customer, seats, None)
}

fn command_with(ticket: Ticket, customer: &str, seats: &[i32], key: Option<&str>) -> BookingCommand {
    let request = BookingRequest::new(
        CustomerName::parse(customer).unwrap(),
        Email::parse(&format!("{customer}@example.com")).unwrap(),
        seats.iter().copied().map(SeatId).collect(),
        None,
    )
    .unwrap();
    let idempotency_key = key.map(|key| IdempotencyKey::new(key).unwrap());
    BookingCommand::new(Envelope { ticket, idempotency_key, request, trace: None }, "{}")
}

fn batch(commands: &[BookingCommand]) -> Batch {
    Batch { commands: commands.to_vec(), dead_letters: Vec::new() }
}

/// Settles the batch in one attempt.
async fn settle(pool: &PgPool, batch: &Batch) -> Result<Vec<SettledTicket>, SettleError> {
    settle_with(pool, CustomerLimit::default(), batch).await
}

async fn settle_with(
    pool: &PgPool,
    limit: CustomerLimit,
    batch: &Batch,
) -> Result<Vec<SettledTicket>, SettleError> {
    let mut connection = pool.acquire().await.unwrap();
    let (clock, locking) = (clock(), Locking::default());
    Ok(transaction::settle(&mut connection, &clock, &locking, limit, batch, &mut LockTurn::default())
        .await?
        .tickets)
}

/// Settles the batch with retries.
async fn settle_all(pool: &PgPool, batch: Batch) -> Vec<SettledTicket> {
    let mut executor = BatchExecutor::new(sessions(pool), clock(), Readiness::starting());
    executor.settle(batch, LockTurn::default(), &CancellationToken::new()).await.unwrap().tickets
}

fn sessions(pool: &PgPool) -> Sessions {
    Sessions::new((*pool.connect_options()).clone(), &[])
}

async fn expire(pool: &PgPool, ticket: TicketId, deadline: Timestamp) -> Option<SettledTicket> {
    let found = tickets::expire(&mut pool.acquire().await.unwrap(), ticket, deadline).await.unwrap();
    found.map(|settled| settled.unwrap())
}

async fn seeded(pool: &PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
}

fn by_ticket(settled: Vec<SettledTicket>) -> HashMap<TicketId, Outcome> {
    settled.into_iter().map(|ticket| (ticket.ticket_id, ticket.outcome)).collect()
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

async fn wait_until_at_least(pool: &PgPool, query: &'static str, expected: i64) {
    let mut ticks = interval(Duration::from_millis(20));
    while count(pool, query).await < expected {
        ticks.tick().await;
    }
}

/// The SQLSTATE of a value that the database cannot store.
const BAD_DATA: &str = "22021";

/// Makes the database reject bookings of customers with this name prefix, with this SQLSTATE.
async fn refuse(pool: &PgPool, name: &str, code: &str) {
    let statements = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END $$;
         CREATE TRIGGER refuse BEFORE INSERT ON bookings FOR EACH ROW
         WHEN (NEW.user_name LIKE '{name}%') EXECUTE FUNCTION refuse();"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(pool).await.unwrap();
}

const DEAD_LETTERS: &str = "SELECT count(*) FROM dead_letters";

const SALES: &str = "SELECT count(*) FROM sales";

const FAILED: &str = "SELECT count(*) FROM bookings WHERE status = 'failed'";

/// The tickets of the commands, in order.
fn ids(commands: &[BookingCommand]) -> Vec<TicketId> {
    commands.iter().map(|command| command.ticket.id).collect()
}

/// An executor, its readiness, and the token that stops it.
fn executor(pool: &PgPool) -> (BatchExecutor, Readiness, CancellationToken) {
    let readiness = Readiness::ready();
    let executor = BatchExecutor::new(sessions(pool), clock(), readiness.clone());
    (executor, readiness, CancellationToken::new())
}
