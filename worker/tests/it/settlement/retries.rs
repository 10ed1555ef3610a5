//! How an executor classifies errors, splits batches and stops.

use super::*;

#[sqlx::test(migrator = "MIGRATOR")]
async fn database_errors_are_classified_by_sqlstate_and_constraint(pool: PgPool) {
    for (code, table, class) in [
        ("40001", "", ErrorClass::Transient),
        ("40P01", "", ErrorClass::Transient),
        ("55P03", "", ErrorClass::Transient),
        ("57014", "", ErrorClass::Transient),
        ("57P01", "", ErrorClass::Transient),
        ("08006", "", ErrorClass::Transient),
        ("22021", "bookings", ErrorClass::BadData),
        ("22P05", "", ErrorClass::BadData),
        ("22001", "", ErrorClass::Unexplained),
        ("2200H", "", ErrorClass::Unexplained),
        ("23514", "bookings", ErrorClass::Unexplained),
        ("23502", "sales", ErrorClass::Unexplained),
        ("23505", "sales", ErrorClass::Unexplained),
        ("23514", "ticket_tiers", ErrorClass::Unexplained),
        ("23505", "sale_seats", ErrorClass::Unexplained),
        ("42P01", "", ErrorClass::Systemic),
        ("P0001", "", ErrorClass::Unexplained),
        ("HV00X", "", ErrorClass::Unexplained),
        ("53100", "", ErrorClass::Systemic),
        ("25006", "", ErrorClass::Transient),
        ("28P01", "", ErrorClass::Systemic),
    ] {
        let raise =
            format!("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}', TABLE = '{table}'; END $$");
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(raise)).execute(&pool).await.unwrap_err();
        assert_eq!(ErrorClass::of(&error.into()), class, "{code} on {table:?}");
    }
    for constraint in ["bookings_pkey", "bookings_idempotency"] {
        let raise = format!(
            "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '23505', TABLE = 'bookings', CONSTRAINT = '{constraint}'; END $$"
        );
        let error = sqlx::raw_sql(sqlx::AssertSqlSafe(raise)).execute(&pool).await.unwrap_err();
        assert_eq!(ErrorClass::of(&error.into()), ErrorClass::Transient, "{constraint}");
    }
    assert_eq!(ErrorClass::of(&sqlx::Error::PoolTimedOut.into()), ErrorClass::Transient);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn four_bad_bookings_in_a_batch_do_not_affect_the_others(pool: PgPool) {
    seeded(&pool).await;
    refuse(&pool, "faulty", BAD_DATA).await;
    let mut commands: Vec<BookingCommand> = (1..=4).map(|n| command(&format!("faulty{n}"), &[n])).collect();
    commands.push(command("alice", &[5]));
    let settled = by_ticket(settle_all(&pool, batch(&commands)).await);
    assert_eq!(settled.len(), 5);
    assert_eq!(count(&pool, FAILED).await, 4);
    assert!(matches!(settled[&commands[4].ticket.id], Outcome::Confirmed { .. }));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_executor_that_waits_for_the_database_can_be_interrupted(pool: PgPool) {
    sqlx::raw_sql("DROP TABLE bookings").execute(&pool).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let mut executor = BatchExecutor::new(sessions(&pool), clock(), Readiness::starting());
    let two = batch(&[command("alice", &[1]), command("bob", &[2])]);
    assert_eq!(executor.settle(two, LockTurn::default(), &stop).await.unwrap_err(), Interrupted);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_executor_whose_connection_is_killed_continues_on_a_new_one(pool: PgPool) {
    seeded(&pool).await;
    let options = (*pool.connect_options()).clone().application_name("victim");
    let mut executor = BatchExecutor::new(Sessions::new(options, &[]), clock(), Readiness::starting());
    let stop = CancellationToken::new();
    let sold = executor.settle(batch(&[command("alice", &[1])]), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(sold.tickets.len(), 1);
    let killed =
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'victim'";
    assert_eq!(count(&pool, killed).await, 1);
    let sold = executor.settle(batch(&[command("bob", &[2])]), LockTurn::default(), &stop).await.unwrap();
    assert_eq!(sold.tickets.len(), 1);
}
