//! The controls of the intake in Postgres: beside instances of earlier versions, and on their schema.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::borrow::Cow;
use std::num::NonZeroU32;

use hamro_api::http::admin_auth::AdminName;
use hamro_api::intake::controls::Controls;
use hamro_api::intake::stored::{
    CONCERTS_MAX, ChangeOrder, Decision, NotChanged, StoredControls, read, store,
};
use hamro_shared::database::{MIGRATOR, seed};
use hamro_shared::domain::ConcertId;
use hamro_shared::queue::{ConcertControls, IntakeControls};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use uuid::Uuid;

/// The migration that adds the controls of concerts.
const CONCERT_CONTROLS: i64 = 20_261_206_000_001;

fn pause(concert: Uuid) -> ConcertControls {
    ConcertControls { concert_id: ConcertId(concert), paused: true, accept_per_second: None }
}

async fn change(pool: &PgPool, decision: Decision) -> Result<StoredControls, NotChanged> {
    let mut connection = pool.acquire().await.unwrap();
    let seen_revision = read(&mut connection).await.unwrap().controls.intake.revision;
    let (by, reason) = (AdminName::of_canary(), "a test".to_owned());
    store(&mut connection, &ChangeOrder { seen_revision, decision, by, reason }).await.unwrap()
}

async fn current(pool: &PgPool) -> Controls {
    read(&mut pool.acquire().await.unwrap()).await.unwrap().controls
}

async fn concert(pool: &PgPool) -> Uuid {
    seed(&mut pool.acquire().await.unwrap()).await.unwrap();
    sqlx::query_scalar("SELECT id FROM concerts ORDER BY id LIMIT 1").fetch_one(pool).await.unwrap()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_change_of_the_intake_keeps_the_controls_of_concerts_also_by_an_earlier_version(pool: PgPool) {
    let concert = concert(&pool).await;
    change(&pool, Decision::Concert(pause(concert))).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO intake_controls (revision, intake_paused, accept_per_second, changed_at, changed_by, reason)
         VALUES (2, true, 50, now(), 'alice', 'an earlier version')",
    )
    .execute(&pool)
    .await
    .unwrap();
    let intake = IntakeControls { revision: 2, intake_paused: true, accept_per_second: NonZeroU32::new(50) };
    assert_eq!(current(&pool).await, Controls { intake, concerts: vec![pause(concert)] });
    let decision = Decision::Intake { paused: false, accept_per_second: None };
    let stored = change(&pool, decision).await.unwrap();
    assert_eq!(stored.controls.concerts, [pause(concert)]);
    // Once removed, they stay so.
    let none = ConcertControls { paused: false, ..pause(concert) };
    change(&pool, Decision::Concert(none)).await.unwrap();
    assert_eq!(change(&pool, decision).await.unwrap().controls.concerts, []);
}

#[sqlx::test(migrations = false)]
async fn on_the_schema_of_an_earlier_version_the_intake_can_be_paused_and_the_pause_is_read(pool: PgPool) {
    let migrations =
        MIGRATOR.iter().filter(|migration| migration.version < CONCERT_CONTROLS).cloned().collect();
    let earlier = Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT };
    earlier.run(&pool).await.unwrap();
    change(&pool, Decision::Intake { paused: true, accept_per_second: None }).await.unwrap();
    let paused = IntakeControls { revision: 1, intake_paused: true, accept_per_second: None };
    assert_eq!(current(&pool).await, Controls { intake: paused, concerts: Vec::new() });
    MIGRATOR.run(&pool).await.unwrap();
    let concert = concert(&pool).await;
    let stored = change(&pool, Decision::Concert(pause(concert))).await.unwrap();
    let paused = IntakeControls { revision: 2, ..paused };
    assert_eq!(stored.controls, Controls { intake: paused, concerts: vec![pause(concert)] });
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn at_most_a_hundred_concerts_have_controls_and_those_can_be_changed_and_removed(pool: PgPool) {
    let concert = concert(&pool).await;
    let controlled: Vec<Uuid> = (1..=CONCERTS_MAX as u128).map(Uuid::from_u128).collect();
    sqlx::query(
        "INSERT INTO intake_controls (revision, intake_paused, concerts, changed_at, changed_by, reason)
         SELECT 1, false, jsonb_agg(jsonb_build_object('concertId', id, 'paused', true, 'acceptPerSecond', null) ORDER BY id),
                now(), 'alice', 'a test'
         FROM unnest($1::uuid[]) id",
    )
    .bind(&controlled)
    .execute(&pool)
    .await
    .unwrap();
    let refused = change(&pool, Decision::Concert(pause(concert))).await;
    assert!(matches!(refused, Err(NotChanged::TooManyConcerts)), "{refused:?}");
    // It does not exist any more.
    let missing = controlled[0];
    let refused = change(&pool, Decision::Concert(pause(missing))).await;
    assert!(matches!(refused, Err(NotChanged::UnknownConcert)), "{refused:?}");
    let removed = ConcertControls { paused: false, ..pause(missing) };
    let stored = change(&pool, Decision::Concert(removed)).await.unwrap();
    assert_eq!(stored.controls.concerts.len(), CONCERTS_MAX - 1);
    let stored = change(&pool, Decision::Concert(pause(concert))).await.unwrap();
    assert_eq!(stored.controls.concerts.len(), CONCERTS_MAX);
    let limited = ConcertControls { accept_per_second: NonZeroU32::new(5), ..pause(concert) };
    let stored = change(&pool, Decision::Concert(limited)).await.unwrap();
    assert!(stored.controls.concerts.contains(&limited), "{stored:?}");
}
