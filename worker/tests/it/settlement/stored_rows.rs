//! Stored rows that the rules for input would reject: edited by hand, erased on request, or written by a newer version.
//! Such a row affects at most its own booking.

use std::collections::HashMap;
use std::time::Duration;

use hamro_shared::database::{MIGRATOR, seed, tickets};
use hamro_shared::domain::{
    BookingRequest, CustomerName, Email, IdempotencyKey, Outcome, Rejection, SeatId, Ticket, TicketId,
    TicketKeys,
};
use hamro_shared::queue::Envelope;
use hamro_worker::settlement::batch::{Batch, BookingCommand};
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{by_ticket, now};

/// Seats 1 and 2 belong to tier 1, seat 21 to tier 2, and seat 101 to another concert.
const SEATS: [i32; 4] = [1, 2, 21, 101];

fn command(customer: &str, seat: i32) -> BookingCommand {
    let keys = TicketKeys::parse(&"5e".repeat(32)).unwrap();
    let request = BookingRequest::new(
        CustomerName::parse(customer).unwrap(),
        Email::parse(&format!("{customer}@example.com")).unwrap(),
        vec![SeatId(seat)],
        None,
    )
    .unwrap();
    let ticket = Ticket { id: keys.issue(now()), deadline: now() + Duration::from_mins(15) };
    let idempotency_key = Some(IdempotencyKey::new("key").unwrap());
    BookingCommand::new(
        Envelope { ticket, idempotency_key, request, trace: None },
        &format!("\"{customer} {}\"", ticket.id),
    )
}

/// Settles one batch in one attempt.
async fn settle(pool: &PgPool, commands: &[BookingCommand]) -> HashMap<TicketId, Outcome> {
    let batch = Batch { commands: commands.to_vec(), dead_letters: Vec::new() };
    by_ticket(super::settle(pool, &batch).await.unwrap())
}

async fn settle_one(pool: &PgPool, command: &BookingCommand) -> Outcome {
    settle(pool, std::slice::from_ref(command)).await.remove(&command.ticket.id).unwrap()
}

async fn run(pool: &PgPool, statements: &'static str) {
    sqlx::raw_sql(statements).execute(pool).await.unwrap();
}

/// The reason and the ticket of each dead letter.
async fn dead_letters(pool: &PgPool) -> Vec<(String, uuid::Uuid)> {
    sqlx::query_as("SELECT reason, ticket_id FROM dead_letters ORDER BY id").fetch_all(pool).await.unwrap()
}

fn is_confirmed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Confirmed { .. })
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_retry_shares_a_sale_whose_customer_was_erased(pool: PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    let sold = settle_one(&pool, &command("alice", 1)).await;
    run(&pool, "UPDATE sales SET user_name = '', user_email = ''").await;
    let retry = command("alice", 1);
    let shared = settle(&pool, &[retry.clone(), command("bob", 2)]).await;
    let (Outcome::Confirmed { booking: sold }, Outcome::Confirmed { booking: shared }) =
        (sold, &shared[&retry.ticket.id])
    else {
        panic!("{shared:?}")
    };
    assert_eq!((shared.id, &shared.ticket_data), (sold.id, &sold.ticket_data));
    assert_eq!((&shared.user_name, &shared.user_email), (&CustomerName::erased(), &Email::erased()));
    assert_eq!(dead_letters(&pool).await, []);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_rejection_that_a_newer_worker_wrote_is_shared_unchanged(pool: PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    settle(&pool, &[command("bob", 1), command("alice", 1)]).await;
    let newer = json!({"code": "limit-exceeded", "limit": {"seats": 4, "used": [1, 2]}, "seatIds": null});
    let update = "UPDATE bookings SET rejection = $1 WHERE status = 'rejected'";
    sqlx::query(update).bind(&newer).execute(&pool).await.unwrap();
    let retry = command("alice", 1);
    let outcome = settle_one(&pool, &retry).await;
    assert_eq!(outcome, Outcome::Rejected { rejection: Rejection::from_stored(newer.clone()) });
    let announced = serde_json::to_value(outcome).unwrap();
    assert_eq!(announced, json!({"status": "rejected", "rejection": newer}));
    let stored: Value = sqlx::query_scalar("SELECT rejection FROM bookings WHERE ticket_id = $1")
        .bind(retry.ticket.id.0)
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(stored, newer);
}

/// Makes a stored outcome unreadable: a missing sale, a NaN price, a rejection too large to parse, a status of a newer
/// version.
const UNREADABLE: [&str; 4] = [
    "DELETE FROM sales WHERE user_name = 'alice'",
    "UPDATE sale_seats SET price = 'NaN' WHERE seat_id = 1",
    "ALTER TABLE bookings DROP CONSTRAINT bookings_confirmed_has_sale;
     UPDATE bookings SET status = 'rejected', rejection = '{\"code\": 1e400}' WHERE user_name = 'alice'",
    "ALTER TABLE bookings DROP CONSTRAINT bookings_confirmed_has_sale, DROP CONSTRAINT bookings_status_check,
        DROP CONSTRAINT bookings_key_of_a_decision;
     UPDATE bookings SET status = 'refunded' WHERE user_name = 'alice'",
];

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_seeded_database_has_the_seats_that_these_tests_use(pool: PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    let rows: Vec<(i32, uuid::Uuid)> =
        sqlx::query_as("SELECT ticket_tier_id, concert_id FROM seats WHERE id = ANY($1) ORDER BY id")
            .bind(SEATS.as_slice())
            .fetch_all(&pool)
            .await
            .unwrap();
    assert!(rows[0].0 == rows[1].0 && rows[1].0 != rows[2].0, "{rows:?}");
    assert!(rows[0].1 == rows[2].1 && rows[2].1 != rows[3].1, "{rows:?}");
}

async fn an_unreadable_outcome_fails_only_its_own_retry(pool: &PgPool, damage: &'static str) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    let (alice, bob) = (command("alice", 1), command("bob", 2));
    settle(pool, &[alice.clone(), bob.clone()]).await;
    run(pool, damage).await;

    let found = {
        let ids = [alice.ticket.id, bob.ticket.id];
        tickets::find_settled(&mut pool.acquire().await.unwrap(), &ids).await.unwrap()
    };
    let (read, unreadable): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
    assert_eq!(read[0].as_ref().unwrap().ticket_id, bob.ticket.id);
    assert_eq!(unreadable[0].as_ref().unwrap_err().ticket, alice.ticket.id, "{damage}");

    let (retry, other_retry, carol) = (command("alice", 1), command("bob", 2), command("carol", 21));
    let settled = settle(pool, &[retry.clone(), other_retry.clone(), carol.clone()]).await;
    assert_eq!(settled[&retry.ticket.id], Outcome::Failed, "{damage}");
    assert!(is_confirmed(&settled[&other_retry.ticket.id]) && is_confirmed(&settled[&carol.ticket.id]));
    assert_eq!(dead_letters(pool).await, [("unreadable-outcome".to_owned(), retry.ticket.id.0)]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_confirmed_ticket_without_a_sale_fails_only_its_own_retry(pool: PgPool) {
    an_unreadable_outcome_fails_only_its_own_retry(&pool, UNREADABLE[0]).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_nan_sale_price_fails_only_its_own_retry(pool: PgPool) {
    an_unreadable_outcome_fails_only_its_own_retry(&pool, UNREADABLE[1]).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_unparsable_rejection_fails_only_its_own_retry(pool: PgPool) {
    an_unreadable_outcome_fails_only_its_own_retry(&pool, UNREADABLE[2]).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_status_of_a_newer_version_fails_only_its_own_retry(pool: PgPool) {
    an_unreadable_outcome_fails_only_its_own_retry(&pool, UNREADABLE[3]).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_retry_without_a_stored_request_hash_shares_the_outcome(pool: PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    let sold = settle_one(&pool, &command("alice", 1)).await;
    run(&pool, "UPDATE bookings SET request_hash = ''").await;
    assert_eq!(settle_one(&pool, &command("alice", 1)).await, sold);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_nan_tier_price_fails_only_the_bookings_of_its_tier(pool: PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    run(
        &pool,
        "UPDATE ticket_tiers SET price = 'NaN' WHERE id = (SELECT ticket_tier_id FROM seats WHERE id = 1)",
    )
    .await;
    let commands = [command("alice", 1), command("bob", 21), command("carol", 101)];
    let settled = settle(&pool, &commands).await;
    assert_eq!(settled[&commands[0].ticket.id], Outcome::Failed);
    assert!(commands[1..].iter().all(|command| is_confirmed(&settled[&command.ticket.id])), "{settled:?}");
    assert_eq!(dead_letters(&pool).await, [("unreadable-price".to_owned(), commands[0].ticket.id.0)]);
    // A failed ticket holds no key: once the price is repaired, the same key can book.
    run(&pool, "UPDATE ticket_tiers SET price = 50 WHERE price = 'NaN'").await;
    assert!(is_confirmed(&settle_one(&pool, &command("alice", 1)).await));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_sale_that_opens_at_infinity_is_not_open_and_blocks_no_other_sale(pool: PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    run(
        &pool,
        "UPDATE concerts SET sales_open_at = 'infinity' WHERE id = (SELECT concert_id FROM seats WHERE id = 1);
         UPDATE concerts SET sales_open_at = '-infinity', sales_close_at = '294276-01-01'
         WHERE id = (SELECT concert_id FROM seats WHERE id = 101)",
    )
    .await;
    let commands = [command("alice", 1), command("bob", 101)];
    let settled = settle(&pool, &commands).await;
    let outcome = &settled[&commands[0].ticket.id];
    let Outcome::Rejected { rejection: Rejection::SaleNotOpen { opens_at } } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(opens_at.to_string(), "9999-12-31T23:59:59.999Z");
    assert!(is_confirmed(&settled[&commands[1].ticket.id]));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_infinite_settlement_time_is_readable(pool: PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    let alice = command("alice", 1);
    settle_one(&pool, &alice).await;
    run(&pool, "UPDATE bookings SET settled_at = 'infinity'; UPDATE sales SET created_at = '-infinity'")
        .await;
    let mut connection = pool.acquire().await.unwrap();
    let found = tickets::find_settled(&mut connection, &[alice.ticket.id]).await.unwrap().remove(0).unwrap();
    assert_eq!(found.settled_at.to_string(), "9999-12-31T23:59:59.999Z");
    let Outcome::Confirmed { booking } = found.outcome else { panic!("{:?}", found.outcome) };
    assert_eq!(booking.ticket_data[0].created_at.to_string(), "0001-01-01T00:00:00.000Z");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn timestamps_are_read_with_millisecond_precision(pool: PgPool) {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    let alice = command("alice", 1);
    settle_one(&pool, &alice).await;
    for (stored, read) in [
        ("2026-11-22 16:14:22.341999+00", "2026-11-22T16:14:22.341Z"),
        ("1969-12-31 23:59:59.999001+00", "1969-12-31T23:59:59.999Z"),
        ("0001-01-01 00:00:00+00", "0001-01-01T00:00:00.000Z"),
    ] {
        let update = "UPDATE bookings SET settled_at = $1::text::timestamptz";
        sqlx::query(update).bind(stored).execute(&pool).await.unwrap();
        let mut connection = pool.acquire().await.unwrap();
        let found = tickets::find_settled(&mut connection, &[alice.ticket.id]).await.unwrap().remove(0);
        assert_eq!(found.unwrap().settled_at.to_string(), read);
    }
}
