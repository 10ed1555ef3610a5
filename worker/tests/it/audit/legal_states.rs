//! What the auditor must not report.

use super::*;

/// Thousands of rows in every state that the programs can bring about, so that there are several ranges of each table.
async fn legal_states(pool: &PgPool) {
    seeded(pool).await;
    let statements = [
        // A tier with more seats than a range, all sold one by one.
        "INSERT INTO seats (concert_id, ticket_tier_id, seat_number, \"row\", section)
         SELECT concert_id, id, 'N-' || n, 1, 'north' FROM ticket_tiers, generate_series(1, 5000) n WHERE id = 1;
         UPDATE ticket_tiers SET total = total + 5000, available = available + 5000 WHERE id = 1;
         WITH sold AS (
             INSERT INTO sales (id, ticket_id, user_name, user_email, created_at)
             SELECT 100000 + id, gen_random_uuid(), 'bob', 'bob@example.com', now() FROM seats WHERE section = 'north'
             RETURNING *
         ), booked AS (
             INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id)
             SELECT ticket_id, 'confirmed', now(), '', id FROM sold
         ), marked AS (
             UPDATE seats SET booked_at = now() WHERE section = 'north' RETURNING id
         ), placed AS (
             INSERT INTO sale_seats (sale_id, position, seat_id, price) SELECT 100000 + id, 0, id, 1 FROM marked
         )
         UPDATE ticket_tiers SET available = available - 5000 WHERE id = 1;"
            .to_owned(),
        // Sold, released and sold again; partly released; released and deleted.
        [sale(1, &[21]), release(1), sale(2, &[21]), release(2), sale(3, &[21, 22])].concat(),
        sale(4, &[23, 24]),
        "WITH released AS (UPDATE sale_seats SET released_at = now() WHERE seat_id = 24)
         UPDATE seats SET booked_at = NULL WHERE id = 24;
         UPDATE ticket_tiers SET available = available + 1 WHERE id = (SELECT ticket_tier_id FROM seats WHERE id = 24);"
            .to_owned(),
        [sale(5, &[25]), release(5)].concat(),
        "UPDATE ticket_tiers SET total = total - 1, available = available - 1
         WHERE id = (SELECT ticket_tier_id FROM seats WHERE id = 25);
         DELETE FROM seats WHERE id = 25;"
            .to_owned(),
        // A sale that an early version has made, without a description, to a customer who is erased now.
        sale(6, &[26]),
        "UPDATE sale_seats SET concert_id = NULL, ticket_tier_id = NULL, section = NULL, \"row\" = NULL, seat_number = NULL
         WHERE sale_id = 6;
         UPDATE sales SET user_name = 'erased', user_email = 'erased@customer.invalid', customer_digest = NULL WHERE id = 6;
         UPDATE bookings SET user_name = NULL, user_email = NULL WHERE sale_id = 6;"
            .to_owned(),
        // Sold seats with one label.
        sale(7, &[27, 28]),
        "UPDATE seats SET has_legacy_label = true WHERE id IN (27, 28);
         ALTER TABLE seats DROP CONSTRAINT seats_number;
         UPDATE seats SET seat_number = 'L-1' WHERE id IN (27, 28);
         CREATE INDEX ON seats (ticket_tier_id);"
            .to_owned(),
        // A retry shares the sale; other outcomes have none.
        "INSERT INTO bookings (ticket_id, status, settled_at, request_hash, sale_id, alias_of)
         SELECT gen_random_uuid(), 'confirmed', now(), '', sale_id, ticket_id FROM bookings WHERE sale_id = 7;
         INSERT INTO bookings (ticket_id, status, settled_at, request_hash, rejection)
         SELECT gen_random_uuid(), 'rejected', now(), '', '{\"code\": \"sold-out\"}' FROM generate_series(1, 3000);
         INSERT INTO bookings (ticket_id, status, settled_at)
         SELECT gen_random_uuid(), status, now() FROM unnest(ARRAY['expired', 'failed']) status, generate_series(1, 3000);"
            .to_owned(),
    ];
    execute(pool, statements.concat()).await;
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn no_state_that_the_programs_can_bring_about_is_a_finding(pool: PgPool) {
    legal_states(&pool).await;
    let report = audited(&pool).await;
    assert_eq!((report.double_sold_seats, found(&report)), (0, vec![]));
    assert_eq!(report.mismatches.len(), 9, "every kind is listed");
    assert!(report.seats_checked > 5_000, "{report:?}");
    assert!((report.coverage - 1.0).abs() < f64::EPSILON, "{report:?}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_empty_database_is_audited(pool: PgPool) {
    let report = audited(&pool).await;
    assert_eq!((report.double_sold_seats, found(&report), report.seats_checked), (0, vec![], 0));
    assert!((report.coverage - 1.0).abs() < f64::EPSILON, "{report:?}");
}
