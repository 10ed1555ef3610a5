//! Sessions of the database and the work on them, against a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop there")]

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hamro_shared::database::{Database, DatabaseClock, Sessions};
use hamro_shared::domain::{Clock, Timestamp};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Error};
use tokio::sync::oneshot;
use tokio::time::interval;

fn database(pool: &PgPool, size: u16) -> Database {
    let options = (*pool.connect_options()).clone().application_name("tested");
    Database::new(Sessions::new(options, &[("lock_timeout", "5s")]), NonZeroU16::new(size).unwrap())
}

/// Does this on a session of the database.
async fn run(database: &Database, statement: &'static str) -> Result<u64, Error> {
    database.query(move |connection| Box::pin(execute(connection, statement))).await
}

async fn execute(connection: &mut PgConnection, statement: &'static str) -> Result<u64, Error> {
    Ok(sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?.rows_affected())
}

/// A statement that is prepared, as those of the programs are.
async fn answer(database: &Database) -> Result<i32, Error> {
    database.query(|connection| Box::pin(sqlx::query_scalar("SELECT 42").fetch_one(connection))).await
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(pool).await.unwrap()
}

async fn wait_until(pool: &PgPool, query: &'static str, expected: i64) {
    let mut ticks = interval(Duration::from_millis(20));
    while count(pool, query).await != expected {
        ticks.tick().await;
    }
}

const ROWS: &str = "SELECT count(*) FROM things";
const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tested'";
const IN_TRANSACTION: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tested' AND state LIKE 'idle in%'";
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tested' AND wait_event_type = 'Lock'";

async fn things(pool: &PgPool) {
    sqlx::raw_sql("CREATE TABLE things (id integer PRIMARY KEY)").execute(pool).await.unwrap();
}

#[sqlx::test]
async fn a_transaction_ends_although_its_requester_is_gone(pool: PgPool) {
    things(&pool).await;
    let database = database(&pool, 1);
    let mut holder = pool.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE things IN EXCLUSIVE MODE").execute(&mut *holder).await.unwrap();
    let work = database
        .transaction(|connection| Box::pin(execute(connection, "INSERT INTO things VALUES (1)")))
        .boxed();
    tokio::select! {
        _ = work => panic!("the table is locked"),
        () = wait_until(&pool, WAITING, 1) => {}
    }
    // The requester is dropped in the middle of it.
    holder.rollback().await.unwrap();
    wait_until(&pool, ROWS, 1).await;
    assert_eq!(answer(&database).await.unwrap(), 42);
    assert_eq!(count(&pool, IN_TRANSACTION).await, 0);
    assert_eq!(count(&pool, SESSIONS).await, 1);
}

#[sqlx::test]
async fn a_transaction_that_fails_is_rolled_back_and_keeps_its_session(pool: PgPool) {
    things(&pool).await;
    let database = database(&pool, 1);
    let twice = "INSERT INTO things VALUES (1), (2), (1)";
    let failed = database.transaction(move |connection| Box::pin(execute(connection, twice))).await;
    assert!(failed.unwrap_err().as_database_error().is_some_and(DatabaseError::is_unique_violation));
    assert_eq!(count(&pool, IN_TRANSACTION).await, 0);
    let first = "SELECT min(pid)::bigint FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tested'";
    let pid = count(&pool, first).await;
    assert_eq!(answer(&database).await.unwrap(), 42);
    assert_eq!(count(&pool, first).await, pid);
    assert_eq!(count(&pool, ROWS).await, 0);
}

#[sqlx::test]
async fn a_session_that_was_left_inside_a_transaction_is_not_used_for_another(pool: PgPool) {
    things(&pool).await;
    let database = database(&pool, 1);
    run(&database, "BEGIN").await.unwrap();
    database
        .transaction(|connection| Box::pin(execute(connection, "INSERT INTO things VALUES (1)")))
        .await
        .unwrap();
    assert_eq!(count(&pool, ROWS).await, 1);
}

#[sqlx::test]
async fn sessions_that_have_become_read_only_are_replaced(pool: PgPool) {
    things(&pool).await;
    let database = database(&pool, 1);
    for (number, statement) in
        ["INSERT INTO things VALUES (1)", "INSERT INTO things VALUES (2)"].iter().enumerate()
    {
        run(&database, "SET default_transaction_read_only = on").await.unwrap();
        if number == 0 {
            run(&database, statement).await.unwrap();
        } else {
            database.transaction(|connection| Box::pin(execute(connection, statement))).await.unwrap();
        }
    }
    assert_eq!(count(&pool, ROWS).await, 2);
}

#[sqlx::test]
async fn sessions_whose_plans_or_statements_are_lost_are_replaced(pool: PgPool) {
    things(&pool).await;
    let database = database(&pool, 1);
    assert_eq!(answer(&database).await.unwrap(), 42);
    // As a pooler does between two transactions.
    run(&database, "DEALLOCATE ALL").await.unwrap();
    assert_eq!(answer(&database).await.unwrap(), 42);
    let all = async || {
        let rows = database
            .query(|connection| Box::pin(sqlx::query("SELECT * FROM things").fetch_all(connection)))
            .await;
        rows.map(|rows| rows.len())
    };
    assert_eq!(all().await.unwrap(), 0);
    // A cached plan must not change its result type.
    sqlx::raw_sql("ALTER TABLE things ADD COLUMN name text").execute(&pool).await.unwrap();
    assert_eq!(all().await.unwrap(), 0);
}

#[sqlx::test]
async fn contention_and_violated_constraints_cost_no_session(pool: PgPool) {
    things(&pool).await;
    let database = database(&pool, 1);
    let pid = async || {
        database
            .query(|connection| Box::pin(sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection)))
            .await
            .unwrap()
    };
    let before: i32 = pid().await;
    for code in ["40001", "40P01", "55P03", "23505", "22021"] {
        let statement = format!("DO $$ BEGIN RAISE EXCEPTION 'odd' USING ERRCODE = '{code}'; END $$").leak();
        assert!(run(&database, statement).await.is_err());
    }
    assert_eq!(pid().await, before);
}

#[sqlx::test]
async fn no_session_is_opened_on_a_server_that_takes_no_writes(pool: PgPool) {
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&pool).await.unwrap();
    let read_only = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on");
    sqlx::raw_sql(AssertSqlSafe(read_only)).execute(&pool).await.unwrap();
    let error = answer(&database(&pool, 1)).await.unwrap_err();
    assert!(error.to_string().contains("takes no writes"), "{error}");
}

#[sqlx::test]
async fn work_whose_requester_is_gone_before_it_has_a_session_does_not_run(pool: PgPool) {
    let database = database(&pool, 1);
    let (begun, has_begun) = oneshot::channel::<()>();
    let (end, ends) = oneshot::channel::<()>();
    let busy = tokio::spawn({
        let database = database.clone();
        async move {
            database
                .transaction(move |_| {
                    Box::pin(async move {
                        begun.send(()).unwrap();
                        ends.await.unwrap();
                        Ok(())
                    })
                })
                .await
        }
    });
    has_begun.await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    for _ in 0..500 {
        let runs = runs.clone();
        let waiting = database.query(move |_| {
            runs.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(()) })
        });
        // Asked for, and given up at once.
        assert!(waiting.now_or_never().is_none());
    }
    end.send(()).unwrap();
    busy.await.unwrap().unwrap();
    assert_eq!(answer(&database).await.unwrap(), 42);
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    assert_eq!(count(&pool, SESSIONS).await, 1);
}

#[sqlx::test]
async fn work_that_panics_costs_its_session_and_nothing_else(pool: PgPool) {
    let database = database(&pool, 1);
    let panicked = database.query(|_| -> hamro_shared::database::Work<'_, ()> { panic!("on purpose") }).await;
    assert!(matches!(panicked, Err(Error::WorkerCrashed)));
    assert_eq!(answer(&database).await.unwrap(), 42);
}

#[sqlx::test]
async fn a_machine_whose_clock_is_wrong_shows_the_time_of_the_database(pool: PgPool) {
    let now = Clock::system();
    for wrong_by in [-960_000, 0, 11_000] {
        let now = now.clone();
        let machine =
            Clock::new(move || Timestamp::from_unix_millis(now.now().unix_millis() + wrong_by).unwrap());
        let clock = DatabaseClock::new(machine);
        assert!(!clock.is_measured());
        clock.measure(&database(&pool, 1)).await.unwrap();
        assert!(clock.is_measured());
        let there: sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc> =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await.unwrap();
        let difference = clock.clock().now().unix_millis() - Timestamp::from(there).unix_millis();
        assert!(difference.abs() < 5_000, "{wrong_by}: {difference}");
    }
}

#[sqlx::test]
async fn a_clock_that_was_measured_stays_in_use_when_the_database_is_gone(pool: PgPool) {
    let wrong = Clock::stopped_at(Timestamp::from_unix_millis(1_000_000).unwrap());
    let clock = DatabaseClock::new(wrong);
    clock.measure(&database(&pool, 1)).await.unwrap();
    let measured = clock.clock().now();
    let gone = (*pool.connect_options()).clone().port(1);
    let gone = Database::new(Sessions::new(gone, &[]), NonZeroU16::MIN);
    assert!(clock.measure(&gone).await.is_err());
    assert_eq!(clock.clock().now(), measured);
    assert!(clock.is_measured());
}
