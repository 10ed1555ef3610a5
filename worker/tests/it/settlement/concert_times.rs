//! A concert that has begun cannot be booked.

use super::*;

/// Changes the concert of seat 1.
async fn update_concert(pool: &PgPool, assignments: &str) {
    let statement =
        format!("UPDATE concerts SET {assignments} WHERE id = (SELECT concert_id FROM seats WHERE id = 1)");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(pool).await.unwrap();
}

/// Lets the concert begin at this moment.
async fn begin_at(pool: &PgPool, moment: Timestamp) {
    let local = format!("(timestamptz '{moment}' AT TIME ZONE 'Asia/Kathmandu')");
    update_concert(
        pool,
        &format!("date = {local}::date, time = {local}::time, time_zone = 'Asia/Kathmandu'"),
    )
    .await;
}

fn moment(offset_millis: i64) -> Timestamp {
    Timestamp::from_unix_millis(now().unix_millis() + offset_millis).unwrap()
}

/// Books a seat of the concert now. Returns when its sales closed, if they did.
async fn closed_at(pool: &PgPool, seat: i32) -> Option<Timestamp> {
    match settle(pool, &batch(&[command("alice", &[seat])])).await.unwrap().remove(0).outcome {
        Outcome::Confirmed { .. } => None,
        Outcome::Rejected { rejection: Rejection::SaleClosed { closed_at } } => Some(closed_at),
        outcome => panic!("{outcome:?}"),
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_ticket_is_sold_if_it_was_issued_before_its_concert_began(pool: PgPool) {
    seeded(&pool).await;
    begin_at(&pool, moment(1)).await;
    assert_eq!(closed_at(&pool, 1).await, None);
    begin_at(&pool, moment(0)).await;
    assert_eq!(closed_at(&pool, 2).await, Some(moment(0)));
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn sales_close_at_the_end_of_the_sales_window_or_when_the_concert_begins_whichever_is_first(
    pool: PgPool,
) {
    seeded(&pool).await;
    for (begins, closes) in [(-1_000, -2_000), (-2_000, -1_000), (-1_000, 1_000), (1_000, -1_000)] {
        begin_at(&pool, moment(begins)).await;
        update_concert(&pool, &format!("sales_close_at = '{}'", moment(closes))).await;
        assert_eq!(closed_at(&pool, 1).await, Some(moment(begins.min(closes))), "{begins}, {closes}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_concert_in_an_unknown_time_zone_can_be_booked_until_its_date_is_over_everywhere(pool: PgPool) {
    seeded(&pool).await;
    let today = format!("(timestamptz '{}' AT TIME ZONE 'UTC')::date", now());
    update_concert(&pool, &format!("date = {today}, time = '00:00'")).await;
    assert_eq!(closed_at(&pool, 1).await, None);
    update_concert(&pool, &format!("date = {today} - 2, time = '23:59'")).await;
    let closed_at = closed_at(&pool, 2).await.unwrap().to_string();
    assert!(closed_at.ends_with("T12:00:00.000Z"), "{closed_at}");
}
