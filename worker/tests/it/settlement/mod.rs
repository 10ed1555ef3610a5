//! The transaction that settles a batch, against a real Postgres.

mod retries;
mod rows;
mod set_aside;
mod stored_rows;
mod stuck_seats;

use std::collections::HashMap;
use std::time::Duration;

use hamro_shared::database::{MIGRATOR, Sessions, seed, tickets};
use hamro_shared::domain::{
    BookingRequest, Clock, CustomerName, Email, IdempotencyKey, Outcome, Rejection, SeatId, SettledTicket,
    Ticket, TicketId, TicketKeys, Timestamp,
};
use hamro_shared::queue::Envelope;
use hamro_worker::readiness::Readiness;
use hamro_worker::settlement::batch::{Batch, BookingCommand, DeadLetter, DeadLetterReason};
use hamro_worker::settlement::error_class::{ErrorClass, SettleError};
use hamro_worker::settlement::executor::{BatchExecutor, Interrupted};
use hamro_worker::settlement::lock_order::LockTurn;
use hamro_worker::settlement::seat_locks::Locking;
use hamro_worker::settlement::transaction;
use sqlx::PgPool;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

fn now() -> Timestamp {
    Timestamp::from_unix_millis(1_795_364_062_341).unwrap()
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
    BookingCommand::new(Envelope { ticket, idempotency_key, request }, "{}")
}

fn batch(commands: &[BookingCommand]) -> Batch {
    Batch { commands: commands.to_vec(), dead_letters: Vec::new() }
}

/// Settles the batch in one attempt.
async fn settle(pool: &PgPool, batch: &Batch) -> Result<Vec<SettledTicket>, SettleError> {
    let mut connection = pool.acquire().await.unwrap();
    let locking = Locking::default();
    Ok(transaction::settle(&mut connection, &clock(), &locking, batch, &mut LockTurn::default())
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

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_announced_outcome_equals_the_stored_one(pool: PgPool) {
    seeded(&pool).await;
    let commands = [
        command("alice", &[1, 21, 41]),
        command("bob", &[21]),
        command("carol", &[9_999]),
        command_with(
            Ticket { deadline: Timestamp::from_unix_millis(0).unwrap(), ..ticket() },
            "dave",
            &[2],
            None,
        ),
        command_with(ticket(), "erin", &[5, 4], Some("key")),
        command_with(ticket(), "erin", &[4, 5], Some("key")),
        command_with(ticket(), "erin", &[6], Some("key")),
    ];
    let mut announced = settle(&pool, &batch(&commands)).await.unwrap();
    announced.sort_by_key(|settled| settled.ticket_id);

    let ids: Vec<TicketId> = announced.iter().map(|settled| settled.ticket_id).collect();
    let mut connection = pool.acquire().await.unwrap();
    let read_back = tickets::find_settled(&mut connection, &ids).await.unwrap();
    assert_eq!(read_back, announced.iter().cloned().map(Ok).collect::<Vec<_>>());

    let outcomes = by_ticket(announced);
    let outcome = |n: usize| &outcomes[&commands[n].ticket.id];
    assert!(matches!(outcome(0), Outcome::Confirmed { booking } if booking.ticket_data.len() == 3));
    let taken = Rejection::SeatsTaken { seat_ids: vec![SeatId(21)] };
    assert_eq!(outcome(1), &Outcome::Rejected { rejection: taken });
    let missing = Rejection::SeatsNotFound { seat_ids: vec![SeatId(9_999)] };
    assert_eq!(outcome(2), &Outcome::Rejected { rejection: missing });
    assert_eq!(outcome(3), &Outcome::Expired);
    assert_eq!(outcome(4), outcome(5));
    assert_eq!(outcome(6), &Outcome::Rejected { rejection: Rejection::IdempotencyKeyReused });
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_redelivered_batch_changes_nothing(pool: PgPool) {
    seeded(&pool).await;
    let batch = batch(&[command("alice", &[1, 2]), command("bob", &[2, 3]), command("carol", &[9_999])]);
    assert_eq!(settle(&pool, &batch).await.unwrap().len(), 3);
    assert_eq!(settle(&pool, &batch).await.unwrap(), []);
    assert_eq!(count(&pool, SALES).await, 1);
    assert_eq!(count(&pool, "SELECT available::bigint FROM ticket_tiers WHERE id = 1").await, 18);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn workers_that_settle_the_same_bookings_settle_each_once(pool: PgPool) {
    seeded(&pool).await;
    // Some of the seats do not exist, so that only the primary key separates the duplicates.
    let commands: Vec<BookingCommand> =
        (1..=40).map(|n| command(&format!("customer{n}"), &[n * 10 + 50])).collect();
    let settle = |mut commands: Vec<BookingCommand>, turn: usize| {
        let pool = pool.clone();
        async move {
            commands.rotate_left(turn);
            let mut settled = Vec::new();
            for half in commands.chunks(20) {
                settled.extend(settle_all(&pool, batch(half)).await);
            }
            settled
        }
    };
    let (one, two, three) = tokio::join!(
        tokio::spawn(settle(commands.clone(), 0)),
        tokio::spawn(settle(commands.clone(), 7)),
        tokio::spawn(settle(commands.clone(), 31))
    );
    let settled: Vec<SettledTicket> = [one, two, three].into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(settled.len(), 40, "each is announced by the one who settled it");
    assert_eq!(by_ticket(settled).len(), 40);
    assert_eq!(count(&pool, "SELECT count(*) FROM bookings").await, 40);
    assert_eq!(count(&pool, SALES).await, 25);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_retry_in_a_later_batch_shares_the_outcome_and_an_expired_attempt_holds_no_key(pool: PgPool) {
    seeded(&pool).await;
    let expired = Ticket { deadline: Timestamp::from_unix_millis(0).unwrap(), ..ticket() };
    let tries = [
        command_with(expired, "alice", &[1], Some("key")),
        command_with(ticket(), "alice", &[1], Some("key")),
        command_with(ticket(), "alice", &[1], Some("key")),
        command_with(ticket(), "bob", &[1], Some("key")),
    ];
    let mut outcomes = Vec::new();
    for command in &tries {
        outcomes.push(settle(&pool, &batch(std::slice::from_ref(command))).await.unwrap().remove(0).outcome);
    }
    assert_eq!(outcomes[0], Outcome::Expired);
    assert!(matches!(outcomes[1], Outcome::Confirmed { .. }));
    assert_eq!(outcomes[2], outcomes[1]);
    assert!(matches!(outcomes[3], Outcome::Rejected { .. }), "another customer's key is another key");
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_retry_shares_the_outcome_of_a_first_attempt_redelivered_in_its_batch(pool: PgPool) {
    seeded(&pool).await;
    let first = command_with(ticket(), "alice", &[1], Some("key"));
    let retry = command_with(ticket(), "alice", &[1], Some("key"));
    let sold = settle(&pool, &batch(std::slice::from_ref(&first))).await.unwrap().remove(0);
    let shared = settle(&pool, &batch(&[first, retry.clone()])).await.unwrap().remove(0);
    assert_eq!((shared.ticket_id, shared.outcome), (retry.ticket.id, sold.outcome));
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_fenced_off_ticket_cannot_be_sold(pool: PgPool) {
    seeded(&pool).await;
    let command = command("alice", &[1]);
    let fenced = expire(&pool, command.ticket.id, Timestamp::from_unix_millis(0).unwrap()).await.unwrap();
    assert_eq!(fenced.outcome, Outcome::Expired);
    assert_eq!(settle(&pool, &batch(std::slice::from_ref(&command))).await.unwrap(), []);
    assert_eq!(count(&pool, SALES).await, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_sold_ticket_cannot_be_fenced_off(pool: PgPool) {
    seeded(&pool).await;
    let command = command("alice", &[1]);
    let sold = settle(&pool, &batch(std::slice::from_ref(&command))).await.unwrap().remove(0);
    let found = expire(&pool, command.ticket.id, Timestamp::from_unix_millis(0).unwrap()).await.unwrap();
    assert_eq!(found, sold);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_cannot_be_fenced_off_before_its_deadline_by_the_database_clock(pool: PgPool) {
    seeded(&pool).await;
    let command = command("alice", &[1]);
    let now: sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await.unwrap();
    let deadline = Timestamp::from(now) + Duration::from_mins(1);
    assert_eq!(expire(&pool, command.ticket.id, deadline).await, None);
    assert_eq!(settle(&pool, &batch(std::slice::from_ref(&command))).await.unwrap().len(), 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_reused_ticket_becomes_a_dead_letter(pool: PgPool) {
    seeded(&pool).await;
    let first = command("alice", &[1]);
    let forged = command_with(first.ticket, "mallory", &[2], None);
    let sold = settle(&pool, &batch(&[first, forged.clone()])).await.unwrap();
    assert_eq!(sold.len(), 1);
    assert_eq!(settle(&pool, &batch(&[forged])).await.unwrap(), []);
    assert_eq!(count(&pool, "SELECT count(*) FROM dead_letters WHERE reason = 'ticket-reused'").await, 1);
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_booking_that_the_database_rejects_fails_alone(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "faulty", BAD_DATA).await;
    let mut commands: Vec<BookingCommand> =
        (1..=20).map(|n| command(&format!("customer{n}"), &[n])).collect();
    commands.insert(13, command("faulty", &[30]));
    let settled = by_ticket(settle_all(&pool, batch(&commands)).await);
    assert_eq!(settled.len(), 21);
    assert_eq!(settled[&commands[13].ticket.id], Outcome::Failed);
    assert_eq!(count(&pool, SALES).await, 20);
    let kept: (uuid::Uuid, String) =
        sqlx::query_as("SELECT ticket_id, reason FROM dead_letters").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, (commands[13].ticket.id.0, "refused-by-database".to_owned()));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn many_consecutive_rejections_halt_settlement_instead_of_failing_every_booking(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "customer", BAD_DATA).await;
    let commands: Vec<BookingCommand> = (1..=20).map(|n| command(&format!("customer{n}"), &[n])).collect();
    let worker = tokio::spawn({
        let (pool, batch) = (pool.clone(), batch(&commands));
        async move { settle_all(&pool, batch).await }
    });
    wait_until_at_least(&pool, FAILED, 3).await;
    // It has halted; once the cause is removed it continues.
    sqlx::raw_sql("DROP TRIGGER refuse ON bookings").execute(&pool).await.unwrap();
    assert_eq!(worker.await.unwrap().len(), 20);
    assert_eq!(count(&pool, FAILED).await, 3);
    assert_eq!(count(&pool, SALES).await, 17);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_drifted_counter_halts_settlement_and_fails_no_booking(pool: PgPool) {
    seeded(&pool).await;
    sqlx::raw_sql("UPDATE ticket_tiers SET available = 0").execute(&pool).await.unwrap();
    let readiness = Readiness::ready();
    let mut executor = BatchExecutor::new(sessions(&pool), clock(), readiness.clone());
    let worker = tokio::spawn(async move {
        let batch = batch(&[command("alice", &[1]), command("bob", &[2])]);
        executor.settle(batch, LockTurn::default(), &CancellationToken::new()).await.unwrap().tickets
    });
    let mut ticks = interval(Duration::from_millis(20));
    while readiness.reason().is_none() {
        ticks.tick().await;
    }
    assert_eq!(count(&pool, "SELECT count(*) FROM bookings").await, 0);
    sqlx::raw_sql("UPDATE ticket_tiers SET available = total").execute(&pool).await.unwrap();
    let settled = worker.await.unwrap();
    assert!(settled.iter().all(|ticket| matches!(ticket.outcome, Outcome::Confirmed { .. })), "{settled:?}");
    assert_eq!(readiness.reason(), None);
    assert_eq!(count(&pool, DEAD_LETTERS).await, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_unreadable_envelope_fails_its_ticket_once_whatever_the_redeliveries(pool: PgPool) {
    seeded(&pool).await;
    let ticket = ticket().id;
    let letter = DeadLetter::new(
        Some(ticket),
        DeadLetterReason::UnreadableEnvelope,
        "unknown kind \0",
        b"{\"kind\":\"\0\"}",
    );
    let batch = Batch { commands: vec![command("alice", &[1])], dead_letters: vec![letter.clone(), letter] };
    let settled = by_ticket(settle(&pool, &batch).await.unwrap());
    assert_eq!(settled[&ticket], Outcome::Failed);
    assert_eq!(settle(&pool, &batch).await.unwrap(), []);
    assert_eq!(count(&pool, DEAD_LETTERS).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_database_rejects_a_seat_in_two_live_sales(pool: PgPool) {
    seeded(&pool).await;
    settle(&pool, &batch(&[command("alice", &[1])])).await.unwrap();
    // As if an operator had marked the seat as free.
    sqlx::raw_sql("UPDATE seats SET booked_at = NULL WHERE id = 1").execute(&pool).await.unwrap();
    let error = settle(&pool, &batch(&[command("bob", &[1])])).await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().constraint(), Some("sale_seats_live"));
    assert_eq!(ErrorClass::of(&error), ErrorClass::Unexplained);
}

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
