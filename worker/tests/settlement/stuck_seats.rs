//! Seats that another session holds while bookings for them and for others come in.

use hamro_shared::database::{MIGRATOR, Sessions};
use hamro_shared::domain::{Outcome, Ticket, Timestamp};
use hamro_worker::readiness::Readiness;
use hamro_worker::settler::Settler;
use hamro_worker::stuck_seats::StuckSeats;
use hamro_worker::turn::Turn;
use sqlx::{PgPool, Postgres, Transaction};
use tokio_util::sync::CancellationToken;

use super::{
    batch, by_ticket, clock, count, ids, order, ordered, seeded, settler, ticket, wait_until_at_least,
};

/// A settler that waits for a lock no longer than a test may take.
fn impatient(pool: &PgPool) -> Settler {
    let options = (*pool.connect_options()).clone().options([("lock_timeout", "100ms")]);
    Settler::new(Sessions::new(options, &[]), clock(), Readiness::untroubled())
}

async fn hold(pool: &PgPool, seat: i32) -> Transaction<'static, Postgres> {
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM seats WHERE id = $1 FOR UPDATE").bind(seat).execute(&mut *holder).await.unwrap();
    holder
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn bookings_of_a_held_seat_are_deferred_and_the_others_settled(pool: PgPool) {
    seeded(&pool).await;
    let holder = hold(&pool, 1).await;
    let orders = [
        order("alice", &[1, 2]),
        order("bob", &[2]),
        order("carol", &[9_999]),
        order("dave", &[9_999, 1]),
        ordered(Ticket { deadline: Timestamp::from_unix_millis(0).unwrap(), ..ticket() }, "erin", &[1], None),
    ];
    let twice = [&orders[..], &orders[..1]].concat();
    let (mut settler, stop) = (impatient(&pool), CancellationToken::new());
    let result = settler.settle(batch(&twice), Turn::default(), &stop).await.unwrap();
    assert_eq!(ids(&result.deferred), [orders[0].ticket.id, orders[3].ticket.id], "each once");
    let outcomes = by_ticket(result.tickets);
    assert!(matches!(outcomes[&orders[1].ticket.id], Outcome::Confirmed { .. }));
    assert!(matches!(outcomes[&orders[2].ticket.id], Outcome::Rejected { .. }));
    assert_eq!(outcomes[&orders[4].ticket.id], Outcome::Expired);
    assert_eq!(outcomes.len(), 3);

    // It is remembered: other seats are locked as ever, and this one is not waited for.
    let later = [order("frank", &[1]), order("grace", &[3])];
    let result = settler.settle(batch(&later), Turn::default(), &stop).await.unwrap();
    assert_eq!(ids(&result.deferred), [later[0].ticket.id]);
    assert_eq!(by_ticket(result.tickets).len(), 1);

    holder.rollback().await.unwrap();
    let result = settler.settle(batch(&later[..1]), Turn::default(), &stop).await.unwrap();
    assert!(matches!(result.tickets[0].outcome, Outcome::Confirmed { .. }));
    assert_eq!(result.deferred.len(), 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn settlers_tell_each_other_of_stuck_seats_and_forget_those_that_could_be_locked(pool: PgPool) {
    seeded(&pool).await;
    let known = StuckSeats::default();
    let (mut one, stop) = (impatient(&pool).with_stuck_seats(known.clone()), CancellationToken::new());
    // Waits for a lock as long as it takes: it must not.
    let (patient, _, _) = settler(&pool);
    let mut patient = patient.with_stuck_seats(known.clone());
    let holder = hold(&pool, 1).await;
    let alice = order("alice", &[1]);
    let result = one.settle(batch(std::slice::from_ref(&alice)), Turn::default(), &stop).await.unwrap();
    assert_eq!(ids(&result.deferred), [alice.ticket.id]);
    assert_eq!(known.among(&[1, 2]), [1]);
    let result = patient.settle(batch(std::slice::from_ref(&alice)), Turn::default(), &stop).await.unwrap();
    assert_eq!(ids(&result.deferred), [alice.ticket.id]);
    holder.rollback().await.unwrap();
    let result = patient.settle(batch(&[alice]), Turn::default(), &stop).await.unwrap();
    assert_eq!(result.tickets.len(), 1);
    assert!(known.among(&[1, 2]).is_empty());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_lock_on_something_else_than_a_seat_is_waited_for(pool: PgPool) {
    seeded(&pool).await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::raw_sql("SELECT FROM ticket_tiers FOR UPDATE").execute(&mut *holder).await.unwrap();
    let mut settler = impatient(&pool);
    let settling = tokio::spawn(async move {
        settler.settle(batch(&[order("alice", &[1])]), Turn::default(), &CancellationToken::new()).await
    });
    let tried = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    let rolled_back = count(&pool, tried).await;
    wait_until_at_least(&pool, tried, rolled_back + 2).await;
    holder.rollback().await.unwrap();
    let result = settling.await.unwrap().unwrap();
    assert_eq!((result.tickets.len(), result.deferred.len()), (1, 0));
}
