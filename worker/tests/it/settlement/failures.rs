//! Bookings that fail: which of them become dead letters, and when settlement halts instead.

use super::*;

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
