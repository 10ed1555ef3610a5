//! What the auditor finds.

use super::*;

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_seat_in_two_live_sales_is_found_within_a_pass(pool: PgPool) {
    seeded(&pool).await;
    execute(&pool, format!("DROP INDEX sale_seats_live; {} {}", sale(1, &[21, 22]), sale(2, &[22, 23])))
        .await;
    let report = audited(&pool).await;
    assert_eq!(report.double_sold_seats, 1);
    assert_eq!(found(&report), [("missing-unique-index", 1)]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_mismatch_of_each_kind_is_found_and_counted(pool: PgPool) {
    seeded(&pool).await;
    let statements = [
        // Its tier has the right counters.
        "UPDATE seats SET booked_at = now() WHERE id = 11;
         UPDATE ticket_tiers SET available = available - 1 WHERE id = (SELECT ticket_tier_id FROM seats WHERE id = 11);"
            .to_owned(),
        sale(12, &[12]),
        "UPDATE seats SET booked_at = NULL WHERE id = 12;
         UPDATE ticket_tiers SET available = available + 1 WHERE id = (SELECT ticket_tier_id FROM seats WHERE id = 12);"
            .to_owned(),
        sale(13, &[13, 999_999]),
        // Another tier.
        "UPDATE ticket_tiers SET available = available - 1 WHERE id = (SELECT ticket_tier_id FROM seats WHERE id = 299);"
            .to_owned(),
        sale(14, &[]),
        sale(15, &[15]),
        "DELETE FROM bookings WHERE sale_id = 15;".to_owned(),
        "INSERT INTO sale_seats (sale_id, position, seat_id, price, released_at) VALUES (16, 0, 16, 1, now());".to_owned(),
        "INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
         VALUES (gen_random_uuid(), 'confirmed', now(), '', 17);"
            .to_owned(),
        "DROP INDEX sale_seats_live; CREATE INDEX sale_seats_live ON sale_seats (seat_id) WHERE released_at IS NULL;".to_owned(),
    ];
    execute(&pool, statements.concat()).await;
    let report = audited(&pool).await;
    let expected = [
        ("booking-without-sale", 1),
        ("missing-unique-index", 1),
        ("sale-of-free-seat", 1),
        ("sale-of-missing-seat", 1),
        ("sale-without-booking", 1),
        ("sale-without-seats", 1),
        ("seat-marked-without-sale", 1),
        ("sold-seat-without-sale", 1),
        ("tier-counters", 1),
    ];
    assert_eq!(found(&report), expected);
    assert_eq!(report.double_sold_seats, 0);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_finding_is_reported_until_a_whole_pass_no_longer_finds_it(pool: PgPool) {
    seeded(&pool).await;
    execute(&pool, "UPDATE ticket_tiers SET available = available - 1 WHERE id = 1").await;
    let auditor = RunningAuditor::start(&pool, Duration::from_millis(10), Workload::default()).await;
    let of_counters = |report: &AuditReport| report.mismatches["tier-counters"];
    // Before the end of the pass.
    let report = report_that(&pool, |report| of_counters(report) > 0).await;
    assert_eq!((of_counters(&report), report.completed_at), (1, None));
    execute(&pool, "UPDATE ticket_tiers SET available = available + 1 WHERE id = 1").await;
    let report = report_that(&pool, |report| of_counters(report) == 0).await;
    assert!(report.completed_at.is_some());
    drop(auditor);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_invalid_unique_index_is_found(pool: PgPool) {
    seeded(&pool).await;
    // What a failed REINDEX CONCURRENTLY leaves is an invalid index. Only a superuser may write it directly.
    execute(&pool, format!("DROP INDEX sale_seats_live; {} {}", sale(1, &[21]), sale(2, &[21]))).await;
    let build =
        "CREATE UNIQUE INDEX CONCURRENTLY sale_seats_live ON sale_seats (seat_id) WHERE released_at IS NULL";
    sqlx::query(build).execute(&pool).await.unwrap_err();
    let report = audited(&pool).await;
    assert_eq!(found(&report), [("missing-unique-index", 1)]);
    assert_eq!(report.double_sold_seats, 1);
}
