//! What settlement counts.

use hamro_shared::telemetry::metrics::{Distribution, LATENCIES};
use hamro_worker::metrics::{DeadLetterCode, OutcomeCode, RetryCode, WorkerMetrics};

use super::*;

/// Settles the batches one after the other.
async fn settle_and_count(
    pool: &PgPool,
    batches: &[Batch],
    settings: &[(&'static str, &'static str)],
) -> WorkerMetrics {
    let metrics = WorkerMetrics::default();
    let sessions = Sessions::new((*pool.connect_options()).clone(), settings);
    let mut executor =
        BatchExecutor::new(sessions, clock(), Readiness::ready()).with_metrics(metrics.clone());
    for batch in batches {
        executor.settle(batch.clone(), LockTurn::default(), &CancellationToken::new()).await.unwrap();
    }
    metrics
}

fn settled(metrics: &WorkerMetrics, outcome: &'static str) -> u64 {
    metrics.settled.get_or_create(&OutcomeCode { outcome }).get()
}

fn number(distribution: &Distribution) -> u64 {
    distribution.counts().iter().sum()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_booking_is_counted_once_under_its_outcome_however_often_it_is_delivered(pool: PgPool) {
    seeded(&pool).await;
    let past = Timestamp::from_unix_millis(now().unix_millis() - 1_000).unwrap();
    let late = Ticket { deadline: past, ..ticket() };
    let commands = [
        command("alice", &[1]),
        command("bob", &[1, 2]),
        command("carol", &[3]),
        command("dave", &[999_999]),
        command_with(late, "erin", &[4], None),
    ];
    let batches = [batch(&commands), batch(&commands)];
    let metrics = settle_and_count(&pool, &batches, &[]).await;
    let counts = ["confirmed", "seats-taken", "seats-not-found", "expired", "failed"];
    assert_eq!(counts.map(|outcome| settled(&metrics, outcome)), [2, 1, 1, 1, 0]);
    assert_eq!(number(&metrics.settle_latency), 5);
    assert_eq!(number(&metrics.batch_duration), 2);
    assert_eq!(number(&metrics.lock_wait), 2);
    let of_batches_up_to_eight: u64 = metrics.batch_sizes.counts()[..4].iter().sum();
    assert_eq!(of_batches_up_to_eight, 2);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_latency_is_the_time_from_the_issue_of_the_ticket(pool: PgPool) {
    seeded(&pool).await;
    let keys = TicketKeys::parse(&"5e".repeat(32)).unwrap();
    let issued = Timestamp::from_unix_millis(now().unix_millis() - 1_500).unwrap();
    let ticket = Ticket { id: keys.issue(issued), ..ticket() };
    let metrics = settle_and_count(&pool, &[batch(&[command_with(ticket, "alice", &[1], None)])], &[]).await;
    let counts = metrics.settle_latency.counts();
    let of_two_seconds = counts[LATENCIES.iter().position(|bound| *bound > 1.5).unwrap()];
    assert_eq!((of_two_seconds, number(&metrics.settle_latency)), (1, 1), "{counts:?}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_dead_letter_is_counted_once_until_it_is_resolved(pool: PgPool) {
    let letter = || DeadLetter::new(None, DeadLetterReason::UnreadableParcel, "no JSON", b"no parcel");
    let twice = Batch { commands: Vec::new(), dead_letters: vec![letter(), letter()] };
    let metrics = settle_and_count(&pool, &[twice.clone(), twice], &[]).await;
    let reason = DeadLetterCode { reason: "unreadable-parcel" };
    assert_eq!(metrics.dead_letters.get_or_create(&reason).get(), 1);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_locked_seat_is_counted_as_a_wait_a_retry_and_a_deferral(pool: PgPool) {
    seeded(&pool).await;
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM seats WHERE id = 1 FOR UPDATE").execute(&mut *holder).await.unwrap();
    let commands = [command("alice", &[1]), command("bob", &[2])];
    let metrics = settle_and_count(&pool, &[batch(&commands)], &[("lock_timeout", "300ms")]).await;
    holder.rollback().await.unwrap();
    assert_eq!(metrics.retries.get_or_create(&RetryCode { reason: "lock-timeout" }).get(), 1);
    assert_eq!(metrics.deferred.get(), 1);
    assert_eq!(settled(&metrics, "confirmed"), 1);
    let longer_than_200_ms: u64 = metrics.lock_wait.counts()[8..].iter().sum();
    assert_eq!((longer_than_200_ms, number(&metrics.lock_wait)), (1, 2));
}
