//! When a concert begins, which the database computes.

use hamro_shared::database::MIGRATOR;
use sqlx::PgPool;
use sqlx::error::DatabaseError;

/// Inserts a concert, and returns when it begins in UTC.
async fn begins_at(pool: &PgPool, date: &str, time: &str, zone: Option<&str>) -> Result<String, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO concerts (title, artist, date, time, venue, city, image, time_zone)
         VALUES ('', '', $1::text::date, $2::text::time, '', '', '', $3)
         RETURNING (begins_at AT TIME ZONE 'UTC')::text",
    )
    .bind(date)
    .bind(time)
    .bind(zone)
    .fetch_one(pool)
    .await
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_concert_begins_at_its_local_time_or_when_its_date_is_over_everywhere(pool: PgPool) {
    for (date, time, zone, expected) in [
        ("2026-12-22", "19:00", Some("Asia/Kathmandu"), "2026-12-22 13:15:00"),
        ("2026-01-15", "19:00", Some("America/New_York"), "2026-01-16 00:00:00"),
        ("2026-07-15", "19:00", Some("America/New_York"), "2026-07-15 23:00:00"),
        ("2026-12-22", "19:00", Some("UTC"), "2026-12-22 19:00:00"),
        ("2026-12-22", "00:00", None, "2026-12-23 12:00:00"),
        ("2026-12-31", "23:59", None, "2027-01-01 12:00:00"),
        ("infinity", "19:00", Some("Asia/Kathmandu"), "infinity"),
        ("-infinity", "19:00", None, "-infinity"),
        ("5874897-12-31", "19:00", None, "infinity"),
        ("4713-01-01 BC", "19:00", Some("Asia/Kathmandu"), "-infinity"),
    ] {
        let computed = begins_at(&pool, date, time, zone).await.unwrap();
        assert_eq!(computed, expected, "{date} {time} {zone:?}");
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn what_is_no_iana_name_is_no_time_zone(pool: PgPool) {
    for zone in
        ["EST5EDT", "UTC+5:45", "<+0545>-05:45", "NPT", "EST5EDT,M3.2.0/2,M11.1.0/2", "posix/Asia/Kathmandu"]
    {
        let error = begins_at(&pool, "2026-12-22", "19:00", Some(zone)).await.unwrap_err();
        let error = error.as_database_error().unwrap();
        // Postgres does not know all of them.
        let is_refused =
            error.constraint() == Some("concerts_time_zone") || error.code().as_deref() == Some("22023");
        assert!(is_refused, "{zone}: {error}");
    }
    let error = begins_at(&pool, "2026-12-22", "19:00", Some("Asia/Atlantis")).await.unwrap_err();
    assert_eq!(error.as_database_error().and_then(DatabaseError::code).as_deref(), Some("22023"));
}
