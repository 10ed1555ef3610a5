//! The limit of seats per customer and concert, over all bookings.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hamro_shared::domain::CustomerDigests;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";

const HELD: &str = "SELECT count(*) FROM sale_seats WHERE released_at IS NULL";

fn limit(seats: u32) -> CustomerLimit {
    CustomerLimit { seats: NonZeroU32::new(seats), ignore_tags: false }
}

/// Settles a booking. Returns whether it was sold, or else the rejection.
async fn book(pool: &PgPool, limit: CustomerLimit, command: BookingCommand) -> Result<(), Rejection> {
    match settle_with(pool, limit, &batch(&[command])).await.unwrap().remove(0).outcome {
        Outcome::Confirmed { .. } => Ok(()),
        Outcome::Rejected { rejection } => Err(rejection),
        outcome => panic!("{outcome:?}"),
    }
}

/// The number of held seats of a booking that the limit rejected.
fn held(result: Result<(), Rejection>) -> (u32, Option<u32>) {
    match result.unwrap_err() {
        Rejection::LimitReached { limit, held_seats, .. } => (limit, held_seats),
        rejection => panic!("{rejection:?}"),
    }
}

async fn run(pool: &PgPool, statements: &'static str) {
    sqlx::raw_sql(statements).execute(pool).await.unwrap();
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_limit_counts_the_seats_of_all_bookings_of_a_concert(pool: PgPool) {
    seeded(&pool).await;
    let none = CustomerLimit::default();
    assert_eq!(book(&pool, none, command("alice", &[1, 2, 3])).await, Ok(()), "before there was a limit");
    assert_eq!(held(book(&pool, limit(4), command("ALICE", &[4, 5])).await), (4, Some(3)));
    assert_eq!(book(&pool, limit(4), command("alice", &[5])).await, Ok(()), "in another tier or not");
    assert_eq!(held(book(&pool, limit(4), command("alice", &[6])).await), (4, Some(4)));
    assert_eq!(held(book(&pool, limit(4), command("bob", &[6, 7, 8, 9, 10])).await), (4, None));
    assert_eq!(book(&pool, limit(4), command("bob", &[6, 7, 8, 9])).await, Ok(()));
    assert_eq!(book(&pool, limit(4), command("alice", &[101])).await, Ok(()), "a seat of another concert");
    // Switched off, and on again.
    assert_eq!(book(&pool, none, command("alice", &[10])).await, Ok(()));
    assert_eq!(held(book(&pool, limit(6), command("alice", &[11, 12])).await), (6, Some(5)));
    run(&pool, "UPDATE sale_seats SET released_at = now() WHERE seat_id = 1").await;
    assert_eq!(
        book(&pool, limit(6), command("alice", &[11, 12])).await,
        Ok(()),
        "a released seat is not held"
    );
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_limit_of_a_concert_replaces_that_of_the_workers(pool: PgPool) {
    seeded(&pool).await;
    run(
        &pool,
        "UPDATE concerts SET seats_per_customer = 1 WHERE id = (SELECT concert_id FROM seats WHERE id = 1)",
    )
    .await;
    assert_eq!(held(book(&pool, CustomerLimit::default(), command("alice", &[1, 2])).await), (1, None));
    assert_eq!(held(book(&pool, limit(4), command("alice", &[1, 2])).await), (1, None));
    assert_eq!(book(&pool, limit(4), command("alice", &[101, 102])).await, Ok(()));
    run(&pool, "UPDATE concerts SET seats_per_customer = 9").await;
    assert_eq!(book(&pool, limit(4), command("alice", &[1, 2, 3, 4, 5])).await, Ok(()));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_booking_that_the_limit_rejects_holds_no_key(pool: PgPool) {
    seeded(&pool).await;
    let attempt = |seats: &[i32]| command_with(ticket(), "alice", seats, Some("key"));
    assert_eq!(held(book(&pool, limit(1), attempt(&[1, 2])).await), (1, None));
    assert_eq!(book(&pool, limit(1), attempt(&[1])).await, Ok(()));
    assert_eq!(book(&pool, limit(1), attempt(&[1])).await, Ok(()), "a retry is not a second booking");
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn tags_of_addresses_can_be_ignored_and_the_setting_can_be_changed(pool: PgPool) {
    seeded(&pool).await;
    let ignoring = CustomerLimit { ignore_tags: true, ..limit(3) };
    assert_eq!(book(&pool, limit(3), command("alice+1", &[1, 2])).await, Ok(()));
    assert_eq!(book(&pool, limit(3), command("alice+2", &[3, 4])).await, Ok(()));
    assert_eq!(held(book(&pool, ignoring, command("alice+3", &[5])).await), (3, Some(4)));
    assert_eq!(held(book(&pool, ignoring, command("alice", &[5])).await), (3, Some(4)));
    assert_eq!(held(book(&pool, limit(3), command("alice+2", &[5, 6])).await), (3, Some(2)));
    assert_eq!(book(&pool, limit(3), command("alice", &[5, 6, 7])).await, Ok(()));
    // In one batch.
    let commands = [command("bob+1", &[101]), command("bob+2", &[102, 103]), command("bob", &[104])];
    let settled = by_ticket(settle_with(&pool, ignoring, &batch(&commands)).await.unwrap());
    let confirmed = |n: usize| matches!(settled[&commands[n].ticket.id], Outcome::Confirmed { .. });
    assert!(confirmed(0) && confirmed(1) && !confirmed(2), "{settled:?}");
}

/// Makes transactions pause: before they write their bookings, until advisory lock 1 is free.
const PAUSE: &str = "CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$
     BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$;
     CREATE TRIGGER pause BEFORE INSERT ON bookings FOR EACH ROW EXECUTE FUNCTION pause();";

#[sqlx::test(migrator = "MIGRATOR")]
async fn two_batches_with_different_seats_of_a_customer_do_not_exceed_the_limit_together(pool: PgPool) {
    seeded(&pool).await;
    run(&pool, PAUSE).await;
    let mut blocker = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *blocker).await.unwrap();
    let settling = [command("alice", &[1, 2]), command("alice", &[3, 4])].map(|command| {
        let pool = pool.clone();
        tokio::spawn(async move { book(&pool, limit(3), command).await })
    });
    // One at the pause, the other on the customer.
    wait_until_at_least(&pool, WAITING, 2).await;
    // Others are not in the way: only this one pauses too.
    let other = {
        let pool = pool.clone();
        tokio::spawn(async move { book(&pool, limit(3), command("bob", &[5, 6])).await })
    };
    let paused = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
    wait_until_at_least(&pool, paused, 2).await;
    blocker.rollback().await.unwrap();
    let [one, another] = settling;
    let results = [one.await.unwrap(), another.await.unwrap()];
    assert_eq!(other.await.unwrap(), Ok(()));
    let rejected: Vec<_> = results.into_iter().filter(Result::is_err).map(held).collect();
    assert_eq!(rejected, [(3, Some(2))]);
    assert_eq!(count(&pool, HELD).await, 4);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn batches_with_the_same_customers_in_opposite_order_never_deadlock(pool: PgPool) {
    seeded(&pool).await;
    run(
        &pool,
        "CREATE FUNCTION stop_after_the_first_row() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF current_setting('test.has_a_row', true) = 'yes' THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
             PERFORM set_config('test.has_a_row', 'yes', true);
             RETURN NEW;
         END $$;
         CREATE TRIGGER stop_after_the_first_row BEFORE INSERT ON customer_locks FOR EACH ROW
         EXECUTE FUNCTION stop_after_the_first_row();",
    )
    .await;
    let mut blocker = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *blocker).await.unwrap();
    let (one, other) =
        ([command("alice", &[1]), command("bob", &[2])], [command("bob", &[3]), command("alice", &[4])]);
    let settling = [one, other].map(|commands| {
        let pool = pool.clone();
        tokio::spawn(async move { settle_with(&pool, limit(2), &batch(&commands)).await })
    });
    wait_until_at_least(&pool, WAITING, 2).await;
    blocker.rollback().await.unwrap();
    for settling in settling {
        settling.await.unwrap().unwrap();
    }
    assert_eq!(count(&pool, HELD).await, 4);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn concurrent_bookings_of_one_customer_never_exceed_the_limit(pool: PgPool) {
    seeded(&pool).await;
    let settling: Vec<_> = (1..=60)
        .map(|seat| {
            let pool = pool.clone();
            tokio::spawn(
                async move { settle_with(&pool, limit(7), &batch(&[command("alice", &[seat])])).await },
            )
        })
        .collect();
    for settling in settling {
        settling.await.unwrap().unwrap();
    }
    assert_eq!(count(&pool, HELD).await, 7);
}

/// Counts the statements of sqlx, in the process of one test, as nextest runs it: tracing would remember that the threads of other
/// tests count nothing.
struct Statements(Arc<AtomicUsize>);

impl Subscriber for Statements {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn no_statement_is_added_where_no_limit_is_set(pool: PgPool) {
    seeded(&pool).await;
    let statements = async |limit: CustomerLimit, command: BookingCommand| {
        let count = Arc::new(AtomicUsize::new(0));
        let counting = tracing::subscriber::set_default(Statements(count.clone()));
        settle_with(&pool, limit, &batch(&[command])).await.unwrap();
        drop(counting);
        count.load(Ordering::Relaxed)
    };
    // Seats, tickets, concerts with what early rejection needs; sale, booking; the tier. Several tiers are locked first, in order.
    let none = CustomerLimit::default();
    let usual = statements(none, command("alice", &[1])).await;
    assert!((6..=9).contains(&usual), "{usual} statements");
    assert_eq!(statements(none, command("alice", &[2, 21, 101])).await, usual + 1);
    let taken = statements(none, command("bob", &[1])).await;
    // Lock and count: only for who could get the seats.
    assert_eq!(statements(limit(4), command("bob", &[3])).await, usual + 2);
    assert_eq!(statements(limit(4), command("bob", &[1])).await, taken);
    run(
        &pool,
        "UPDATE concerts SET seats_per_customer = 4 WHERE id = (SELECT concert_id FROM seats WHERE id = 1)",
    )
    .await;
    assert_eq!(statements(none, command("carol", &[102])).await, usual, "the limit of another concert");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sales_of_an_earlier_worker_count(pool: PgPool) {
    seeded(&pool).await;
    // What an earlier worker inserts.
    run(
        &pool,
        "INSERT INTO sales (ticket_id, user_name, user_email, created_at)
         VALUES (gen_random_uuid(), 'A', 'Alice@Example.com', now()), (gen_random_uuid(), 'A', 'alice+x@example.com', now());
         INSERT INTO sale_seats (sale_id, position, seat_id, price) VALUES (1, 0, 1, 50), (1, 1, 2, 50), (2, 0, 3, 50);
         UPDATE seats SET booked_at = now() WHERE id <= 3;",
    )
    .await;
    assert_eq!(held(book(&pool, limit(2), command("alice", &[5])).await), (2, Some(2)));
    let ignoring = CustomerLimit { ignore_tags: true, ..limit(3) };
    assert_eq!(held(book(&pool, ignoring, command("alice", &[5])).await), (3, Some(3)));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_database_computes_the_same_digests_for_ascii_addresses(pool: PgPool) {
    for address in [
        "alice@example.com",
        "Alice+Friends@Example.COM",
        "a+b+c@example.com",
        "+a@example.com",
        "\"a+b\"@example.com",
        "a@b+c.de",
        "a+b@c@d.de",
        "a@b+c@d.de",
        "no+address",
        "erased@customer.invalid",
    ] {
        let (mailbox, tagged): (Vec<u8>, Option<Vec<u8>>) = sqlx::query_as(
            "SELECT customer_digest(address_without_tag($1)),
                    CASE WHEN address_without_tag($1) <> $1 THEN customer_digest($1) END",
        )
        .bind(address)
        .fetch_one(&pool)
        .await
        .unwrap();
        let expected = CustomerDigests::of(&Email::from_stored(Some(address.to_owned())));
        assert_eq!(mailbox, expected.mailbox.0, "{address}");
        assert_eq!(tagged, expected.tagged.map(|digest| digest.0.to_vec()), "{address}");
    }
}
