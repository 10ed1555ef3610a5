//! Tables, indexes and what else the migrations create.

use std::fs;

use hamro_api::check::{OBJECTS, stored_objects};

use super::*;

/// The list is written by `UPDATE_OBJECTS=1`.
#[sqlx::test(migrator = "MIGRATOR")]
async fn the_list_of_objects_is_what_the_migrations_create(pool: PgPool) {
    let objects = stored_objects(&mut pool.acquire().await.unwrap()).await.unwrap();
    let objects = objects.join("\n") + "\n";
    #[expect(clippy::disallowed_methods, reason = "a switch of this test")]
    if std::env::var("UPDATE_OBJECTS").is_ok() {
        fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/check/objects.txt"), objects).unwrap();
    } else {
        assert_eq!(objects, OBJECTS, "run `make objects`");
    }
}

/// What a restore may leave out or damage, and what is found then.
const DAMAGES: [(&str, &str); 10] = [
    // One line, not one for each of its columns.
    ("DROP TABLE releases", "the table releases is missing"),
    ("DROP INDEX seats_label", "the index seats_label is missing"),
    (
        "DROP INDEX bookings_alias_of; CREATE INDEX bookings_alias_of ON bookings (alias_of)",
        "the index bookings_alias_of is different: it is `CREATE INDEX bookings_alias_of ON bookings USING btree (alias_of)`",
    ),
    (
        "ALTER TABLE bookings DROP CONSTRAINT bookings_known_request",
        "the constraint bookings.bookings_known_request is missing",
    ),
    (
        "ALTER TABLE seats DROP CONSTRAINT seats_of_tier;
         ALTER TABLE seats ADD CONSTRAINT seats_of_tier FOREIGN KEY (concert_id, ticket_tier_id)
         REFERENCES ticket_tiers (concert_id, id) ON DELETE CASCADE NOT VALID",
        "constraints were not validated: seats_of_tier on seats",
    ),
    ("DROP TRIGGER seats_sold ON seats", "the trigger seats.seats_sold is missing"),
    ("ALTER TABLE sales DISABLE TRIGGER sales_digested", "triggers are disabled: sales_digested on sales"),
    (
        "ALTER TABLE bookings ALTER status DROP NOT NULL",
        "the column bookings.status is different: it is `text`",
    ),
    ("DROP SEQUENCE instance_numbers", "the sequence instance_numbers is missing"),
    ("DROP FUNCTION describe_sold_seat CASCADE", "the function describe_sold_seat() is missing"),
];

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_missing_different_or_disabled_object_is_found(pool: PgPool) {
    for (damage, _) in DAMAGES {
        execute(&pool, damage).await;
    }
    let survey = surveyed(&pool).await;
    for (damage, expected) in DAMAGES {
        assert!(survey.problems.iter().any(|problem| problem.found == expected), "{damage}: {survey}");
    }
    // And the trigger that went with its function, and the sequence that went with its table.
    assert_eq!(rules(&survey), ["objects"; DAMAGES.len() + 2], "{survey}");
    assert_eq!(survey.notes, ["Rows were not compared, because of what is missing."]);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_invalid_index_is_found(pool: PgPool) {
    seeded(&pool).await;
    // What a failed build leaves is an invalid index.
    execute(&pool, format!("DROP INDEX sale_seats_live; {} {}", sale(&[21]), sale(&[21]))).await;
    let build =
        "CREATE UNIQUE INDEX CONCURRENTLY sale_seats_live ON sale_seats (seat_id) WHERE released_at IS NULL";
    sqlx::query(build).execute(&pool).await.unwrap_err();
    let survey = surveyed(&pool).await;
    assert_eq!(rules(&survey), ["double-sold-seat", "missing-unique-index", "objects"], "{survey}");
    assert_eq!(found(&survey, "objects"), "indexes are invalid: sale_seats_live");
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_older_a_newer_and_a_foreign_schema_are_told_apart(pool: PgPool) {
    execute(&pool, "INSERT INTO _sqlx_migrations VALUES (99990101000001, 'newer', now(), true, '', 1)").await;
    let survey = surveyed(&pool).await;
    assert_eq!(survey.problems, []);
    assert!(survey.notes[0].starts_with("The schema is newer than this program (99990101000001)"));

    execute(&pool, "UPDATE _sqlx_migrations SET checksum = '' WHERE version = 20261122000001").await;
    let found_changed = surveyed(&pool).await;
    assert_eq!(
        found(&found_changed, "schema"),
        "migrations were applied with another content: 20261122000001"
    );

    execute(
        &pool,
        "DELETE FROM _sqlx_migrations WHERE version = 20261203000001; DROP TABLE installation_epoch",
    )
    .await;
    let older = surveyed(&pool).await;
    assert_eq!(rules(&older), ["schema"]);
    assert!(found(&older, "schema").ends_with("it lacks the migrations 20261203000001"), "{older}");

    execute(&pool, "UPDATE _sqlx_migrations SET success = false WHERE version = 20261201000020").await;
    let broken = surveyed(&pool).await;
    assert_eq!(found(&broken, "schema"), "migrations were begun and not completed: 20261201000020");

    execute(&pool, "DROP TABLE _sqlx_migrations").await;
    assert_eq!(found(&surveyed(&pool).await, "schema"), "this database has no schema");
}
