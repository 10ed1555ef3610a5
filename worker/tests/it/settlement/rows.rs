//! The rows of `bookings` and `dead_letters`.

use hamro_shared::database::MIGRATOR;
use hamro_worker::settlement::batch::{Batch, DeadLetter, DeadLetterReason};
use hamro_worker::settlement::error_class::SettleError;
use sqlx::PgPool;

use super::{DEAD_LETTERS, batch, command_with, count, seeded, settle, ticket, wait_until_at_least};

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// Both transactions pause after their first row. Inserted in the order of arrival, each would hold the key that the
/// other needs.
#[sqlx::test(migrator = "MIGRATOR")]
async fn two_batches_with_the_same_keys_in_opposite_order_never_deadlock(pool: PgPool) {
    seeded(&pool).await;
    sqlx::raw_sql(
        "CREATE FUNCTION stop_after_the_first_row() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF current_setting('test.has_a_row', true) = 'yes' THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
             PERFORM set_config('test.has_a_row', 'yes', true);
             RETURN NEW;
         END $$;
         CREATE TRIGGER stop_after_the_first_row BEFORE INSERT ON bookings FOR EACH ROW
         EXECUTE FUNCTION stop_after_the_first_row();",
    )
    .execute(&pool)
    .await
    .unwrap();
    let mut blocker = pool.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *blocker).await.unwrap();
    // Different seats under the same keys: the seat locks do not order the transactions.
    let one =
        [command_with(ticket(), "alice", &[1], Some("a")), command_with(ticket(), "bob", &[2], Some("b"))];
    let other =
        [command_with(ticket(), "bob", &[3], Some("b")), command_with(ticket(), "alice", &[4], Some("a"))];
    let settling = [one, other].map(|commands| {
        let pool = pool.clone();
        tokio::spawn(async move { settle(&pool, &batch(&commands)).await })
    });
    wait_until_at_least(&pool, WAITING, 2).await;
    blocker.rollback().await.unwrap();
    let mut failures = Vec::new();
    for settling in settling {
        failures.extend(settling.await.unwrap().err());
    }
    let code = |error: &SettleError| error.as_database_error().unwrap().code().unwrap().into_owned();
    let codes: Vec<String> = failures.iter().map(code).collect();
    assert_eq!(codes, ["23505"], "only the second transaction fails, on the keys that are taken");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_resolved_dead_letter_that_recurs_is_reopened(pool: PgPool) {
    let letter = || DeadLetter::new(None, DeadLetterReason::UnreadableParcel, "no JSON", b"no parcel");
    let twice = Batch { commands: Vec::new(), dead_letters: vec![letter(), letter()] };
    settle(&pool, &twice).await.unwrap();
    let open = "SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL";
    assert_eq!(count(&pool, open).await, 1);
    sqlx::raw_sql(
        "UPDATE dead_letters SET resolution = 'reissued', resolved_at = now(), reissued_as = gen_random_uuid()",
    )
    .execute(&pool)
    .await
    .unwrap();
    settle(&pool, &twice).await.unwrap();
    assert_eq!(count(&pool, open).await, 1);
    let kept = "SELECT count(*) FROM dead_letters WHERE reissued_as IS NOT NULL";
    assert_eq!(count(&pool, kept).await, 1, "it continues with the ticket of its first reissue");
}

/// The statement of an earlier worker version, on the current schema.
#[sqlx::test(migrator = "MIGRATOR")]
async fn an_earlier_worker_version_can_store_dead_letters(pool: PgPool) {
    let earlier = "INSERT INTO dead_letters (reason, detail, payload, created_at) VALUES ('unreadable-parcel', '', '', now())
                   ON CONFLICT (reason, sha256(payload)) DO NOTHING";
    for _ in 0..2 {
        sqlx::raw_sql(earlier).execute(&pool).await.unwrap();
    }
    assert_eq!(count(&pool, DEAD_LETTERS).await, 1);
}
