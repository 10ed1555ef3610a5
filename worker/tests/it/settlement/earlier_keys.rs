//! Idempotency keys that an earlier version stored under another form of the address. A retry across an upgrade finds its first
//! attempt, and no other customer does.

use hamro_worker::settlement::batch::StoredIdentity;

use super::*;

/// A booking with the key `key`.
fn attempt(address: &str, seat: i32) -> BookingCommand {
    let name = CustomerName::parse("Kate").unwrap();
    let email = Email::parse(address).unwrap();
    let request = BookingRequest::new(name, email, vec![SeatId(seat)], None).unwrap();
    let idempotency_key = Some(IdempotencyKey::new("key").unwrap());
    BookingCommand::new(Envelope { ticket: ticket(), idempotency_key, request, trace: None }, "{}")
}

/// The booking as the earlier version with this form of the address settles it.
fn by_earlier_version(command: &BookingCommand, form: usize) -> BookingCommand {
    let StoredIdentity { hash, key_digest } = command.earlier[form];
    BookingCommand { hash, key_digest, earlier: Vec::new(), ..command.clone() }
}

async fn settle_one(pool: &PgPool, command: BookingCommand) -> Outcome {
    settle(pool, &batch(&[command])).await.unwrap().remove(0).outcome
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_retry_finds_the_attempt_that_an_earlier_version_stored(pool: PgPool) {
    seeded(&pool).await;
    for (n, (address, form)) in [
        ("\u{212a}ate@example.com", 0),
        ("kate@exämple.de", 0),
        ("zoe\u{308}@exämple.de", 0),
        ("\u{212a}ate@exämple.np", 0),
        ("\u{212a}ate@exämple.in", 1),
    ]
    .into_iter()
    .enumerate()
    {
        let seat = i32::try_from(n).unwrap() + 1;
        let sold = settle_one(&pool, by_earlier_version(&attempt(address, seat), form)).await;
        assert!(matches!(sold, Outcome::Confirmed { .. }), "{address}: {sold:?}");
        assert_eq!(settle_one(&pool, attempt(address, seat)).await, sold, "{address}");
        let other = settle_one(&pool, attempt(address, 50)).await;
        assert_eq!(other, Outcome::Rejected { rejection: Rejection::IdempotencyKeyReused }, "{address}");
    }
    assert_eq!(count(&pool, SALES).await, 5);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn another_customer_does_not_find_an_attempt_under_a_digest_that_both_had(pool: PgPool) {
    seeded(&pool).await;
    let (kate, other) = ("kate@example.com", "\u{212a}ate@example.com");
    assert_eq!(attempt(other, 1).earlier[0].key_digest, attempt(kate, 1).key_digest);
    let sold = settle_one(&pool, attempt(kate, 1)).await;
    let refused = settle_one(&pool, attempt(other, 1)).await;
    assert!(matches!(refused, Outcome::Rejected { rejection: Rejection::SeatsTaken { .. } }), "{refused:?}");
    let own = settle_one(&pool, attempt(other, 1)).await;
    assert_eq!(own, refused, "it has its own key");
    assert_eq!(settle_one(&pool, attempt(kate, 1)).await, sold);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_that_an_earlier_version_settled_is_redelivered_without_effect(pool: PgPool) {
    seeded(&pool).await;
    let command = attempt("\u{212a}ate@exämple.de", 1);
    for form in 0..2 {
        settle(&pool, &batch(&[by_earlier_version(&command, form)])).await.unwrap();
        assert_eq!(settle(&pool, &batch(std::slice::from_ref(&command))).await.unwrap(), []);
        assert_eq!(count(&pool, DEAD_LETTERS).await, 0);
        let undone = "DELETE FROM bookings; DELETE FROM sale_seats; UPDATE seats SET booked_at = NULL;
                      UPDATE seats SET free_from = NULL";
        sqlx::raw_sql(undone).execute(&pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_rejection_that_an_earlier_version_stored_under_its_key_is_shared(pool: PgPool) {
    seeded(&pool).await;
    let first = attempt("kate@example.com", 9_999);
    let rejected = settle_one(&pool, first.clone()).await;
    let retry = settle_one(&pool, attempt("kate@example.com", 1)).await;
    assert!(matches!(retry, Outcome::Confirmed { .. }), "this version stores no key for it");
    // As earlier versions did.
    sqlx::query("UPDATE bookings SET idempotency_digest = NULL").execute(&pool).await.unwrap();
    sqlx::query("UPDATE bookings SET idempotency_digest = $2 WHERE ticket_id = $1")
        .bind(first.ticket.id.0)
        .bind(first.key_digest.unwrap().0)
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(settle_one(&pool, attempt("kate@example.com", 9_999)).await, rejected);
    let other = settle_one(&pool, attempt("kate@example.com", 2)).await;
    assert_eq!(other, Outcome::Rejected { rejection: Rejection::IdempotencyKeyReused });
}
