//! Bookings that fail alone without bad data, and when settlement halts instead.

use std::time::Duration;

use hamro_shared::database::{MIGRATOR, Sessions};
use hamro_shared::domain::{Outcome, SettledTicket, Ticket, Timestamp};
use hamro_worker::readiness::Readiness;
use hamro_worker::settlement::batch::{BookingCommand, DeadLetterReason};
use hamro_worker::settlement::executor::BatchExecutor;
use hamro_worker::settlement::failure_limit::FailureLimit;
use hamro_worker::settlement::lock_order::LockTurn;
use sqlx::PgPool;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use super::{
    DEAD_LETTERS, FAILED, SALES, batch, by_ticket, clock, command, command_with, count, executor, expire,
    ids, refuse, seeded, settle, settle_all, ticket,
};

/// An SQLSTATE of an extension, which is on no list.
const ODD: &str = "HV00X";

async fn set_not_ready(readiness: &Readiness) {
    let mut ticks = interval(Duration::from_millis(20));
    while readiness.reason().is_none() {
        ticks.tick().await;
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_booking_that_fails_alone_without_bad_data_is_set_aside(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "odd", ODD).await;
    let mut commands: Vec<BookingCommand> =
        (1..=20).map(|n| command(&format!("customer{n}"), &[n])).collect();
    commands.insert(13, command("odd", &[30]));
    let (mut executor, readiness, stop) = executor(&pool);
    let result = executor.settle(batch(&commands), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(result.tickets.len(), 20);
    assert_eq!(ids(&result.set_aside), [commands[13].ticket.id]);
    assert_eq!(count(&pool, SALES).await, 20);
    assert_eq!((count(&pool, FAILED).await, count(&pool, DEAD_LETTERS).await), (0, 0));
    assert_eq!(readiness.reason(), None);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_failing_bookings_among_sales_are_set_aside_without_halting(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "odd", ODD).await;
    let commands =
        [command("odd1", &[1]), command("alice", &[2]), command("odd2", &[3]), command("bob", &[4])];
    let (mut executor, _, stop) = executor(&pool);
    let result = executor.settle(batch(&commands), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(ids(&result.set_aside), [commands[0].ticket.id, commands[2].ticket.id]);
    assert_eq!(count(&pool, SALES).await, 2);
}

/// Sales, each in a batch with rejections: a rejection needs no sequence and does not reset the limit.
#[sqlx::test(migrator = "MIGRATOR")]
async fn an_exhausted_sequence_halts_settlement_and_fails_no_booking(pool: PgPool) {
    seeded(&pool).await;
    sqlx::raw_sql("ALTER SEQUENCE sales_id_seq MAXVALUE 2; SELECT setval('sales_id_seq', 2)")
        .execute(&pool)
        .await
        .unwrap();
    let (mut executor, readiness, stop) = executor(&pool);
    let sales: Vec<BookingCommand> = (1..=15).map(|n| command(&format!("customer{n}"), &[n])).collect();
    let settling = tokio::spawn({
        let sales = sales.clone();
        async move {
            let mut set_aside = Vec::new();
            let mut tickets = Vec::new();
            for sale in sales {
                let both = batch(&[sale, command("late", &[9_999])]);
                let result = executor.settle(both, LockTurn::default(), &stop).await.unwrap();
                tickets.extend(result.tickets);
                set_aside.extend(result.set_aside);
            }
            (tickets, set_aside)
        }
    });
    set_not_ready(&readiness).await;
    assert_eq!((count(&pool, FAILED).await, count(&pool, DEAD_LETTERS).await), (0, 0));
    sqlx::raw_sql("ALTER SEQUENCE sales_id_seq NO MAXVALUE").execute(&pool).await.unwrap();
    let (tickets, set_aside) = settling.await.unwrap();
    assert_eq!(ids(&set_aside), ids(&sales[..3]), "a rejection does not reset the failure limit");
    let is_sold = |ticket: &&SettledTicket| matches!(ticket.outcome, Outcome::Confirmed { .. });
    assert_eq!(tickets.iter().filter(is_sold).count(), 12);
    assert_eq!(settle_all(&pool, batch(&set_aside)).await.len(), 3);
    assert_eq!(count(&pool, SALES).await, 15);
    assert_eq!((count(&pool, FAILED).await, count(&pool, DEAD_LETTERS).await), (0, 0));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_lagging_sequence_halts_settlement_and_fails_no_booking(pool: PgPool) {
    seeded(&pool).await;
    let earlier: Vec<BookingCommand> = (1..=5).map(|n| command("earlier", &[n])).collect();
    settle(&pool, &batch(&earlier)).await.unwrap();
    sqlx::raw_sql("SELECT setval('sales_id_seq', 1, false)").execute(&pool).await.unwrap();
    let (mut executor, readiness, stop) = executor(&pool);
    let commands = [command("alice", &[11]), command("bob", &[12])];
    let settling =
        tokio::spawn(async move { executor.settle(batch(&commands), LockTurn::default(), &stop).await });
    set_not_ready(&readiness).await;
    assert_eq!(count(&pool, "SELECT count(*) FROM bookings").await, 5);
    sqlx::raw_sql("SELECT setval('sales_id_seq', (SELECT max(id) FROM sales))").execute(&pool).await.unwrap();
    assert_eq!(settling.await.unwrap().unwrap().tickets.len(), 2);
    assert_eq!(count(&pool, DEAD_LETTERS).await, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn executors_that_share_a_failure_limit_set_three_aside_and_then_halt(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "odd", ODD).await;
    let failure_limit = FailureLimit::default();
    let (one, _, stop) = executor(&pool);
    let (other, readiness, _) = executor(&pool);
    let (mut one, mut other) =
        (one.with_failure_limit(failure_limit.clone()), other.with_failure_limit(failure_limit));
    for n in 1..=2 {
        let odd = batch(&[command("odd", &[n])]);
        assert_eq!(one.settle(odd, LockTurn::default(), &stop).await.unwrap().set_aside.len(), 1);
    }
    let odd = batch(&[command("odd", &[3])]);
    assert_eq!(other.settle(odd, LockTurn::default(), &stop).await.unwrap().set_aside.len(), 1);
    // A booking that was set aside before is not counted again, and does not halt settlement.
    let again = BookingCommand { set_aside: 4, ..command("odd", &[4]) };
    assert_eq!(one.settle(batch(&[again]), LockTurn::default(), &stop).await.unwrap().set_aside.len(), 1);
    let settling = tokio::spawn({
        let stop = stop.clone();
        async move { other.settle(batch(&[command("odd", &[5])]), LockTurn::default(), &stop).await }
    });
    set_not_ready(&readiness).await;
    let sold = one.settle(batch(&[command("alice", &[6])]), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(sold.tickets.len(), 1);
    assert_eq!(settling.await.unwrap().unwrap().set_aside.len(), 1, "a sale resets the failure limit");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_set_aside_booking_past_its_deadline_expires_and_is_stored(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "odd", ODD).await;
    let past = Ticket { deadline: Timestamp::from_unix_millis(0).unwrap(), ..ticket() };
    let odd = BookingCommand { set_aside: 1, ..command_with(past, "odd", &[1], None) };
    let settled = settle_all(&pool, batch(std::slice::from_ref(&odd))).await;
    assert_eq!(by_ticket(settled)[&odd.ticket.id], Outcome::Expired);
    let kept: (uuid::Uuid, String) =
        sqlx::query_as("SELECT ticket_id, reason FROM dead_letters").fetch_one(&pool).await.unwrap();
    assert_eq!(kept, (odd.ticket.id.0, "set-aside".to_owned()));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_set_aside_booking_leaves_a_dead_letter_unless_it_was_decided_meanwhile(pool: PgPool) {
    seeded(&pool).await;
    let (sold, fenced) = (command("alice", &[1]), command("bob", &[2]));
    settle(&pool, &batch(std::slice::from_ref(&sold))).await.unwrap();
    expire(&pool, fenced.ticket.id, Timestamp::from_unix_millis(0).unwrap()).await.unwrap();
    let letters =
        batch(&[sold, fenced.clone()]).into_dead_letters(DeadLetterReason::SetAside, "set by the test");
    assert_eq!(settle(&pool, &letters).await.unwrap(), []);
    let kept: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT ticket_id FROM dead_letters").fetch_all(&pool).await.unwrap();
    assert_eq!(kept, [fenced.ticket.id.0]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_booking_that_times_out_alone_is_set_aside(pool: PgPool) {
    seeded(&pool).await;
    sqlx::raw_sql(
        "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;
         CREATE TRIGGER linger BEFORE INSERT ON bookings FOR EACH ROW
         WHEN (NEW.user_name = 'slow') EXECUTE FUNCTION linger();",
    )
    .execute(&pool)
    .await
    .unwrap();
    let options = (*pool.connect_options()).clone().options([("statement_timeout", "500ms")]);
    let mut executor = BatchExecutor::new(Sessions::new(options, &[]), clock(), Readiness::ready());
    let commands = [command("alice", &[1]), command("slow", &[2]), command("bob", &[3])];
    let result =
        executor.settle(batch(&commands), LockTurn::default(), &CancellationToken::new()).await.unwrap();
    assert_eq!(ids(&result.set_aside), [commands[1].ticket.id]);
    assert_eq!(count(&pool, SALES).await, 2);
}
