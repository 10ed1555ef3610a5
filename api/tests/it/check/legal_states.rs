//! What the check does not report.

use super::*;

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_database_in_use_has_no_problems(pool: PgPool) {
    seeded(&pool).await;
    let retry = "INSERT INTO bookings (ticket_id, status, settled_at, request_hash, alias_of, sale_id)
                 SELECT gen_random_uuid(), 'confirmed', now(), '', ticket_id, id FROM sales WHERE id = 1;";
    let retry = retry
        .replace("gen_random_uuid()", "overlay(gen_random_uuid()::text PLACING '0190' FROM 1 FOR 4)::uuid");
    let statements = [sale(&[21, 22]), retry, sale(&[23]), release(), sale(&[23]), sale(&[24]), release()];
    execute(&pool, statements.concat()).await;
    let survey = surveyed(&pool).await;
    assert_eq!(survey.problems, []);
    assert_eq!(survey.notes, [] as [&str; 0]);
    // Each seat is read twice, the second time for its tier.
    assert!(survey.rows > 600, "{}", survey.rows);
    assert!(survey.to_string().ends_with("Nothing is wrong."), "{survey}");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_empty_database_has_no_problems(pool: PgPool) {
    assert_eq!(surveyed(&pool).await.problems, []);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_paused_intake_and_open_dead_letters_are_only_noted(pool: PgPool) {
    execute(
        &pool,
        "INSERT INTO intake_controls VALUES (1, true, NULL, now(), 'alice', 'trouble', '[{
             \"concertId\": \"755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11\", \"paused\": false, \"acceptPerSecond\": 5}]');
         INSERT INTO dead_letters (reason, detail, payload, created_at) VALUES ('unreadable', '', '', now());",
    )
    .await;
    let survey = surveyed(&pool).await;
    assert_eq!(survey.problems, []);
    assert!(survey.notes[0].starts_with("The intake is paused since "), "{:?}", survey.notes);
    let concert =
        "Concert 755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11 is open with a limit of 5 bookings per second.";
    assert_eq!(survey.notes[1..], [concert, "1 dead letters are open."]);
}
