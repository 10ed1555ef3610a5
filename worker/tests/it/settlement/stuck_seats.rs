//! Seats that another session has locked.

use hamro_shared::database::{MIGRATOR, Sessions};
use hamro_shared::domain::{Outcome, SeatId, Ticket, Timestamp};
use hamro_worker::readiness::Readiness;
use hamro_worker::settlement::executor::BatchExecutor;
use hamro_worker::settlement::lock_order::LockTurn;
use hamro_worker::settlement::stuck_seats::StuckSeats;
use sqlx::{PgPool, Postgres, Transaction};
use tokio_util::sync::CancellationToken;

use super::{
    batch, by_ticket, clock, command, command_with, count, executor, ids, seeded, ticket, wait_until_at_least,
};

/// An executor with a short lock timeout.
fn with_short_lock_timeout(pool: &PgPool) -> BatchExecutor {
    let options = (*pool.connect_options()).clone().options([("lock_timeout", "100ms")]);
    BatchExecutor::new(Sessions::new(options, &[]), clock(), Readiness::ready())
}

async fn hold(pool: &PgPool, seat: i32) -> Transaction<'static, Postgres> {
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM seats WHERE id = $1 FOR UPDATE").bind(seat).execute(&mut *holder).await.unwrap();
    holder
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn bookings_of_a_locked_seat_are_deferred_and_the_others_settled(pool: PgPool) {
    seeded(&pool).await;
    let holder = hold(&pool, 1).await;
    let commands = [
        command("alice", &[1, 2]),
        command("bob", &[2]),
        command("carol", &[9_999]),
        command("dave", &[9_999, 1]),
        command_with(
            Ticket { deadline: Timestamp::from_unix_millis(0).unwrap(), ..ticket() },
            "erin",
            &[1],
            None,
        ),
    ];
    let twice = [&commands[..], &commands[..1]].concat();
    let (mut executor, stop) = (with_short_lock_timeout(&pool), CancellationToken::new());
    let result = executor.settle(batch(&twice), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(ids(&result.deferred), [commands[0].ticket.id, commands[3].ticket.id], "each once");
    let outcomes = by_ticket(result.tickets);
    assert!(matches!(outcomes[&commands[1].ticket.id], Outcome::Confirmed { .. }));
    assert!(matches!(outcomes[&commands[2].ticket.id], Outcome::Rejected { .. }));
    assert_eq!(outcomes[&commands[4].ticket.id], Outcome::Expired);
    assert_eq!(outcomes.len(), 3);

    // The seat is remembered: other seats are locked as usual, and this one without waiting.
    let later = [command("frank", &[1]), command("grace", &[3])];
    let result = executor.settle(batch(&later), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(ids(&result.deferred), [later[0].ticket.id]);
    assert_eq!(by_ticket(result.tickets).len(), 1);

    holder.rollback().await.unwrap();
    let result = executor.settle(batch(&later[..1]), LockTurn::default(), &stop).await.unwrap();
    assert!(matches!(result.tickets[0].outcome, Outcome::Confirmed { .. }));
    assert_eq!(result.deferred.len(), 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn executors_share_stuck_seats_and_forget_those_that_were_locked(pool: PgPool) {
    seeded(&pool).await;
    let known = StuckSeats::default();
    let (mut one, stop) =
        (with_short_lock_timeout(&pool).with_stuck_seats(known.clone()), CancellationToken::new());
    // Without a lock timeout: it would wait forever if it waited.
    let (other, _, _) = executor(&pool);
    let mut other = other.with_stuck_seats(known.clone());
    let holder = hold(&pool, 1).await;
    let alice = command("alice", &[1]);
    let result = one.settle(batch(std::slice::from_ref(&alice)), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(ids(&result.deferred), [alice.ticket.id]);
    assert_eq!(known.among(&[SeatId(1), SeatId(2)]), [SeatId(1)]);
    let result = other.settle(batch(std::slice::from_ref(&alice)), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(ids(&result.deferred), [alice.ticket.id]);
    holder.rollback().await.unwrap();
    let result = other.settle(batch(&[alice]), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(result.tickets.len(), 1);
    assert!(known.among(&[SeatId(1), SeatId(2)]).is_empty());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn settlement_waits_for_locks_on_other_rows_than_seats(pool: PgPool) {
    seeded(&pool).await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::raw_sql("SELECT FROM ticket_tiers FOR UPDATE").execute(&mut *holder).await.unwrap();
    let mut executor = with_short_lock_timeout(&pool);
    let settling = tokio::spawn(async move {
        executor
            .settle(batch(&[command("alice", &[1])]), LockTurn::default(), &CancellationToken::new())
            .await
    });
    let tried = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let rolled_back = count(&pool, tried).await;
    wait_until_at_least(&pool, tried, rolled_back + 2).await;
    holder.rollback().await.unwrap();
    let result = settling.await.unwrap().unwrap();
    assert_eq!((result.tickets.len(), result.deferred.len()), (1, 0));
}
