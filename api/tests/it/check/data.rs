//! Contradictions between rows.

use super::*;

#[sqlx::test(migrator = "MIGRATOR")]
async fn damage_of_each_kind_is_found_by_its_rule(pool: PgPool) {
    seeded(&pool).await;
    let counted_again = |seat: i32, change: &str| {
        format!(
            "UPDATE ticket_tiers SET available = available {change} 1
             WHERE id = (SELECT ticket_tier_id FROM seats WHERE id = {seat});"
        )
    };
    let statements = [
        // Sales 1 and 2.
        sale(&[1, 2]),
        sale(&[3]),
        // A seat without a sale; its tier has the right counters.
        "UPDATE seats SET booked_at = now() WHERE id = 11;".to_owned(),
        counted_again(11, "-"),
        // 3: a sale of a free seat.
        sale(&[12]),
        "UPDATE seats SET booked_at = NULL WHERE id = 12;".to_owned(),
        counted_again(12, "+"),
        // 4: a sale without a booking. 5: without seats. 6: a seat of no sale. 7: a booking without a sale.
        sale(&[13]),
        "DELETE FROM bookings WHERE sale_id = 4;".to_owned(),
        sale(&[]),
        "INSERT INTO sale_seats (sale_id, position, seat_id, price, released_at) VALUES (6, 0, 16, 1, now());".to_owned(),
        "INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
         VALUES ('01900000-0000-8000-8000-000000000007', 'confirmed', now(), '', 7);"
            .to_owned(),
        // A counter off by one.
        counted_again(299, "-"),
        // A booking of sale 1 that is no retry.
        "INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
         VALUES ('01900000-0000-8000-8000-000000000001', 'confirmed', now(), '', 1);"
            .to_owned(),
        "UPDATE sale_seats SET seat_number = NULL WHERE sale_id = 2;
         UPDATE sales SET customer_digest = NULL WHERE id = 2;
         UPDATE concerts SET date = date + 36500;
         INSERT INTO releases (sale_id, ticket_id, seat_ids, reason, released_by, released_at)
         VALUES (1, gen_random_uuid(), '{1}', 'test', 'alice', now());
         UPDATE seats SET free_from = now() + interval '1 day' WHERE id = 30;
         DELETE FROM freed_versions WHERE concert_id = (SELECT concert_id FROM seats WHERE id = 250);
         INSERT INTO dead_letters (reason, detail, payload, created_at, resolution, resolved_at, reissued_as)
         VALUES ('unreadable', '', '', now(), 'reissued', now() - interval '2 days', gen_random_uuid());"
            .to_owned(),
    ];
    execute(&pool, statements.concat()).await;
    let survey = surveyed(&pool).await;
    let expected = [
        "booking-without-sale",
        "concert-without-version",
        "free-from-in-the-future",
        "lost-reissues",
        "sale-of-free-seat",
        "sale-without-booking",
        "sale-without-seats",
        "seat-marked-without-sale",
        "sequences",
        "shared-sale",
        "sold-seat-without-sale",
        "tier-counters",
        "undescribed-seats",
        "undigested-customers",
        "unfinished-releases",
    ];
    assert_eq!(rules(&survey), expected, "{survey}");
    for (rule, ids) in [
        ("seat-marked-without-sale", "11"),
        ("sale-of-free-seat", "12"),
        ("sale-without-booking", "4"),
        ("sale-without-seats", "5"),
        ("sold-seat-without-sale", "6"),
        ("booking-without-sale", "7"),
        ("shared-sale", "1"),
        ("undescribed-seats", "2"),
        ("undigested-customers", "2"),
        ("unfinished-releases", "1"),
        ("free-from-in-the-future", "30"),
        ("concert-without-version", "201"),
        ("lost-reissues", "1"),
    ] {
        let found = found(&survey, rule);
        assert!(found.starts_with("1 ") && found.ends_with(&format!(": {ids}")), "{rule}: {found}");
    }
    // What refers to lost sales counts, too.
    let sequences = found(&survey, "sequences");
    assert_eq!(sequences, "sales_id_seq is at 5, and sales or what refers to it has the number 7");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_seat_that_was_sold_twice_is_found_with_the_missing_index(pool: PgPool) {
    seeded(&pool).await;
    execute(&pool, format!("DROP INDEX sale_seats_live; {} {}", sale(&[21, 22]), sale(&[22, 23]))).await;
    let survey = surveyed(&pool).await;
    assert_eq!(rules(&survey), ["double-sold-seat", "missing-unique-index", "objects"], "{survey}");
    assert!(found(&survey, "double-sold-seat").ends_with(": 22"), "{survey}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_sold_seat_that_does_not_exist_is_found(pool: PgPool) {
    seeded(&pool).await;
    execute(&pool, sale(&[21, 999_999])).await;
    let survey = surveyed(&pool).await;
    assert_eq!(
        rules(&survey),
        ["sale-of-missing-seat", "sequences", "undescribed-missing-seats"],
        "{survey}"
    );
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn every_sequence_that_is_behind_is_found(pool: PgPool) {
    seeded(&pool).await;
    execute(&pool, sale(&[21]) + &release()).await;
    execute(
        &pool,
        "INSERT INTO dead_letters (reason, detail, payload, created_at) VALUES ('unreadable', '', '', now());
         SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S' AND relname LIKE '%_id_seq';",
    )
    .await;
    let survey = surveyed(&pool).await;
    let behind: Vec<_> =
        survey.problems.iter().filter_map(|problem| problem.found.split(' ').next()).collect();
    let all = [
        "dead_letters_id_seq",
        "releases_id_seq",
        "sales_id_seq",
        "seats_id_seq",
        "ticket_tiers_id_seq",
        "ticket_types_id_seq",
    ];
    assert_eq!(behind, all, "{survey}");
    // Each of them, in a database in which everything is behind.
    assert_eq!(rules(&survey), ["sequences"; 6]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_from_the_future_shows_that_the_clock_is_wrong(pool: PgPool) {
    let ticket = "INSERT INTO bookings (ticket_id, status, settled_at)
                  VALUES ('0fff0000-0000-8000-8000-000000000001', 'expired', now())";
    execute(&pool, ticket).await;
    let survey = surveyed(&pool).await;
    assert_eq!(rules(&survey), ["clock"], "{survey}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_large_table_without_statistics_is_found_and_analyzed(pool: PgPool) {
    let rows = "ALTER TABLE bookings SET (autovacuum_enabled = off);
                INSERT INTO bookings (ticket_id, status, settled_at, user_name)
                SELECT ('01900000-0000-8000-8000-' || lpad(n::text, 12, '0'))::uuid, 'expired', now(), repeat('x', 200)
                FROM generate_series(1, 40000) n;";
    execute(&pool, rows).await;
    let survey = surveyed(&pool).await;
    assert_eq!(rules(&survey), ["statistics"], "{survey}");
    assert_eq!(repaired(&pool).await, ["gathered statistics of bookings"]);
    assert_eq!(surveyed(&pool).await.problems, []);
}
