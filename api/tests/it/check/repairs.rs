//! `--repair`.

use super::*;

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_has_one_right_repair_is_repaired_and_the_rest_is_left(pool: PgPool) {
    seeded(&pool).await;
    let damage = "UPDATE sale_seats SET seat_number = NULL WHERE sale_id = 1;
                  UPDATE sales SET customer_digest = NULL WHERE id = 1;
                  UPDATE concerts SET date = date + 36500;
                  UPDATE ticket_tiers SET available = available - 1, total = total + 1 WHERE id = 1;
                  UPDATE seats SET free_from = now() + interval '1 day' WHERE id = 30;
                  DELETE FROM freed_versions;
                  SELECT setval('sales_id_seq', 1, false), setval('seats_id_seq', 7);
                  UPDATE seats SET booked_at = now() WHERE id = 11;";
    execute(&pool, sale(&[21, 22]) + damage).await;
    let done = repaired(&pool).await;
    let expected = [
        "moved sales_id_seq to 1",
        "moved seats_id_seq to 300",
        "described 2 sold seats",
        "computed the digests of 1 sales",
        "made 1 seats free",
        "gave a version to 3 concerts",
        "counted the seats of 1 tiers",
    ];
    assert_eq!(done, expected);
    let survey = surveyed(&pool).await;
    assert_eq!(rules(&survey), ["seat-marked-without-sale"], "{survey}");

    // New rows get new numbers, and the repaired sale is whole.
    execute(&pool, sale(&[23])).await;
    let of_sale = "SELECT seat_number, customer_digest = customer_digest('alice@example.com') FROM sale_seats
                   JOIN sales ON sales.id = sale_id WHERE seat_id = 21";
    let (label, is_right): (String, bool) = sqlx::query_as(of_sale).fetch_one(&pool).await.unwrap();
    let named: String =
        sqlx::query_scalar("SELECT seat_number FROM seats WHERE id = 21").fetch_one(&pool).await.unwrap();
    assert_eq!((label, is_right), (named, true));
}

/// As an instance leaves them that ends between the two transactions of a release.
#[sqlx::test(migrator = "MIGRATOR")]
async fn a_release_that_nobody_has_finished_for_a_minute_is_finished(pool: PgPool) {
    seeded(&pool).await;
    let unfinished = "UPDATE releases SET is_finished = false;
                      UPDATE seats SET free_from = '9999-12-31 00:00+00' WHERE id IN (21, 22);";
    execute(&pool, sale(&[21, 22]) + &release() + unfinished).await;
    assert_eq!(surveyed(&pool).await.problems, [], "its instance is about to finish it");
    execute(&pool, "UPDATE releases SET released_at = released_at - interval '2 minutes'").await;
    assert_eq!(rules(&surveyed(&pool).await), ["free-from-in-the-future"]);
    assert_eq!(repaired(&pool).await, ["made 2 seats free"]);
    assert_eq!(surveyed(&pool).await.problems, []);
    let finished = "SELECT bool_and(is_finished AND free_from > now()) FROM releases";
    assert!(sqlx::query_scalar::<_, bool>(finished).fetch_one(&pool).await.unwrap());
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_repair_waits_for_a_sale_that_is_being_committed(pool: PgPool) {
    seeded(&pool).await;
    execute(&pool, "UPDATE ticket_tiers SET available = available - 1").await;
    let tiers = "SELECT available FROM ticket_tiers JOIN seats ON ticket_tier_id = ticket_tiers.id WHERE seats.id = 21";
    let before: i32 = sqlx::query_scalar(tiers).fetch_one(&pool).await.unwrap();
    // A sale that has locked its seat, as a worker does first.
    let mut selling = pool.begin().await.unwrap();
    sqlx::query("SELECT FROM seats WHERE id = 21 FOR UPDATE").execute(&mut *selling).await.unwrap();
    let repair = tokio::spawn({
        let pool = pool.clone();
        async move { repaired(&pool).await }
    });
    let is_waiting = "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
                                     WHERE datname = current_database() AND NOT granted AND relation = 'seats'::regclass)";
    while !sqlx::query_scalar::<_, bool>(is_waiting).fetch_one(&pool).await.unwrap() {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql(AssertSqlSafe(sale(&[21]))).execute(&mut *selling).await.unwrap();
    selling.commit().await.unwrap();
    assert_eq!(repair.await.unwrap().len(), 1);
    assert_eq!(surveyed(&pool).await.problems, []);
    // One less than all, as before the damage and with one sale.
    let after: i32 = sqlx::query_scalar(tiers).fetch_one(&pool).await.unwrap();
    assert_eq!(after, before);
}
