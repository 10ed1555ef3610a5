//! The total that a customer has agreed to (decision 41).

use hamro_shared::domain::Amount;

use super::*;

const COUNTERS: &str = "SELECT sum(available) FROM ticket_tiers";

fn at(total: &str, customer: &str, seats: &[i32], key: Option<&str>) -> BookingCommand {
    let plain = command_with(ticket(), customer, seats, None);
    let request = plain.request.expecting(Some(Amount::parse(total).unwrap()));
    let idempotency_key = key.map(|key| IdempotencyKey::new(key).unwrap());
    BookingCommand::new(Envelope { ticket: plain.ticket, idempotency_key, request, trace: None }, "{}")
}

async fn outcome(pool: &PgPool, command: BookingCommand) -> Outcome {
    settle(pool, &batch(&[command])).await.unwrap().remove(0).outcome
}

fn changed(total: &str, expected_total: &str) -> Outcome {
    let amount = |text| Amount::parse(text).unwrap();
    let (total, expected_total) = (amount(total), amount(expected_total));
    Outcome::Rejected { rejection: Rejection::PriceChanged { total, expected_total } }
}

async fn set_price(pool: &PgPool, price: &'static str) {
    let changed = sqlx::query("UPDATE ticket_tiers SET price = $1::numeric WHERE id = 1").bind(price);
    assert_eq!(changed.execute(pool).await.unwrap().rows_affected(), 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_booking_is_sold_at_the_price_that_its_customer_has_agreed_to_or_not_at_all(pool: PgPool) {
    seeded(&pool).await;
    let free = count(&pool, COUNTERS).await;
    // Seats 1 and 2 cost 100.00, seat 21 costs 50.00.
    let requested = at("250.00", "alice", &[1, 2, 21], Some("key"));
    set_price(&pool, "130.5").await;
    assert_eq!(outcome(&pool, requested).await, changed("311.00", "250.00"));
    assert_eq!(count(&pool, SALES).await, 0);
    assert_eq!(count(&pool, "SELECT count(*) FROM seats WHERE booked_at IS NOT NULL").await, 0);
    assert_eq!(count(&pool, COUNTERS).await, free);
    assert_eq!(count(&pool, "SELECT count(idempotency_digest) FROM bookings").await, 0, "the key is free");

    // The same key with a new consent, and then a retry after another change.
    let Outcome::Confirmed { booking } = outcome(&pool, at("311", "alice", &[1, 2, 21], Some("key"))).await
    else {
        panic!("not sold");
    };
    assert_eq!(count(&pool, COUNTERS).await, free - 3);
    set_price(&pool, "1").await;
    let retried = outcome(&pool, at("311.00", "alice", &[1, 2, 21], Some("key"))).await;
    assert_eq!(retried, Outcome::Confirmed { booking });
    let reused = Outcome::Rejected { rejection: Rejection::IdempotencyKeyReused };
    assert_eq!(outcome(&pool, at("52.00", "alice", &[1, 2, 21], Some("key"))).await, reused);
    assert_eq!(count(&pool, SALES).await, 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn taken_seats_are_reported_before_the_price_and_hold_the_key(pool: PgPool) {
    seeded(&pool).await;
    let settled = by_ticket(
        settle(&pool, &batch(&[command("bob", &[1]), at("1", "alice", &[1, 2], Some("key"))])).await.unwrap(),
    );
    let taken = settled.values().filter(
        |outcome| matches!(outcome, Outcome::Rejected { rejection } if rejection.code() == "seats-taken"),
    );
    assert_eq!(taken.count(), 1, "{settled:?}");
    assert_eq!(count(&pool, "SELECT count(idempotency_digest) FROM bookings").await, 1, "the key is used");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_stored_rejection_is_read_as_it_was_written(pool: PgPool) {
    seeded(&pool).await;
    let requested = at("0.50", "alice", &[21], None);
    let ticket = requested.ticket.id;
    let written = outcome(&pool, requested).await;
    let read = tickets::find_settled(&mut pool.acquire().await.unwrap(), &[ticket])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    assert_eq!(read.outcome, written);
    assert_eq!(written, changed("50.00", "0.50"));
}

/// The price is read once the seats are locked, so it is the one at which they are sold.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_price_that_changes_while_the_batch_waits_for_its_seats_is_the_one_that_counts(pool: PgPool) {
    seeded(&pool).await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM seats WHERE id = 1 FOR UPDATE").execute(&mut *holder).await.unwrap();
    let settling = tokio::spawn({
        let pool = pool.clone();
        async move { outcome(&pool, at("100.00", "alice", &[1], None)).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    wait_until_at_least(&pool, waiting, 1).await;
    set_price(&pool, "99.00").await;
    holder.commit().await.unwrap();
    assert_eq!(settling.await.unwrap(), changed("99.00", "100.00"));
}
