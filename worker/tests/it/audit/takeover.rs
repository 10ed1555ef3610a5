//! Who audits, and when.

use super::*;

/// The sessions that hold the auditor's lock.
const HOLDERS: &str = "SELECT coalesce(array_agg(pid), '{}') FROM pg_locks
                       WHERE locktype = 'advisory' AND granted AND classid = 97 AND objid = 1969514868
                         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

async fn holders(pool: &PgPool) -> Vec<i32> {
    sqlx::query_scalar(HOLDERS).fetch_one(pool).await.unwrap()
}

async fn holder_other_than(pool: &PgPool, other: Option<i32>) -> i32 {
    let mut ticks = interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        if let Some(&holder) = holders(pool).await.first().filter(|holder| Some(**holder) != other) {
            return holder;
        }
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn one_worker_audits_and_another_goes_on_when_its_session_ends(pool: PgPool) {
    seeded(&pool).await;
    // The pass never ends in this test.
    let busy = Workload::default();
    busy.start_over(true);
    busy.received(1);
    let _auditors = [
        RunningAuditor::start(&pool, Duration::from_hours(1), busy.clone()).await,
        RunningAuditor::start(&pool, Duration::from_hours(1), busy.clone()).await,
    ];
    let first = holder_other_than(&pool, None).await;
    let report = report_that(&pool, |report| report.is_paused).await;
    assert_eq!((report.completed_at, holders(&pool).await), (None, vec![first]));

    sqlx::query("SELECT pg_terminate_backend($1)").bind(first).execute(&pool).await.unwrap();
    let second = holder_other_than(&pool, Some(first)).await;
    assert_eq!(holders(&pool).await, [second]);
    busy.finished(1, 1);
    report_that(&pool, |report| report.completed_at.is_some() && !report.is_paused).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_pass_goes_on_where_another_worker_has_left_it(pool: PgPool) {
    seeded(&pool).await;
    // Everything up to the bookings is checked, and one finding is recorded.
    execute(
        &pool,
        r#"INSERT INTO seat_audits (report, saved_at, progress) VALUES ('{}', now(), '{
            "pass": {"started_at": "2026-11-26T10:00:00.000Z", "rows_expected": 600, "rows_checked": 600, "rows_skipped": 0,
                     "position": {"bookings": "00000000-0000-0000-0000-000000000000"}, "seats_checked": 300,
                     "found": {"double-sold-seat": 1}, "attempts": 0},
            "completed_at": null, "last_found": {}
        }')"#,
    )
    .await;
    let report = audited(&pool).await;
    assert_eq!((report.seats_checked, report.double_sold_seats), (300, 1));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_audit_is_paused_while_its_worker_has_bookings_and_goes_on_afterwards(pool: PgPool) {
    seeded(&pool).await;
    let workload = Workload::default();
    workload.start_over(true);
    workload.received(64);
    let _auditor = RunningAuditor::start(&pool, Duration::from_millis(10), workload.clone()).await;
    let paused = report_that(&pool, |report| report.is_paused).await;
    assert!(paused.completed_at.is_none() && paused.coverage < 1.0, "{paused:?}");
    workload.finished(1, 64);
    let report = report_that(&pool, |report| report.completed_at.is_some()).await;
    assert!(!report.is_paused, "{report:?}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn the_audit_is_paused_while_other_workers_settle_many_bookings(pool: PgPool) {
    seeded(&pool).await;
    let _auditor = RunningAuditor::start(&pool, Duration::from_millis(10), Workload::default()).await;
    let rush = async {
        let mut ticks = interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            execute(
                &pool,
                "INSERT INTO bookings (ticket_id, status, settled_at)
                 SELECT gen_random_uuid(), 'expired', now() FROM generate_series(1, 100)",
            )
            .await;
        }
    };
    tokio::select! {
        () = rush => {}
        _ = report_that(&pool, |report| report.is_paused) => {}
    }
    report_that(&pool, |report| !report.is_paused).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_report_of_a_newer_version_is_read_as_far_as_it_is_known(pool: PgPool) {
    execute(
        &pool,
        r#"INSERT INTO seat_audits (report, progress, saved_at)
           VALUES ('{"doubleSoldSeats": 2, "mismatches": {"of-a-newer-version": 1}, "added": true}', '"other"', now())"#,
    )
    .await;
    let report = report(&pool).await.unwrap();
    assert_eq!((report.double_sold_seats, report.completed_at), (2, None));
}
