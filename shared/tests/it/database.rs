//! Database sessions and the work that runs on them, against a real Postgres.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use hamro_shared::database::{Database, DatabaseClock, Sessions};
use hamro_shared::domain::{Clock, Timestamp};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{AssertSqlSafe, Error};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::interval;

fn database(pool: &PgPool, size: u16) -> Database {
    let options = (*pool.connect_options()).clone().application_name("tested");
    Database::new(Sessions::new(options, &[("lock_timeout", "5s")]), NonZeroU16::new(size).unwrap())
}

/// Executes the statement on a session of the database.
async fn run(database: &Database, statement: &'static str) -> Result<u64, Error> {
    database.query(move |connection| Box::pin(execute(connection, statement))).await
}

async fn execute(connection: &mut PgConnection, statement: &'static str) -> Result<u64, Error> {
    Ok(sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await?.rows_affected())
}

/// Runs a prepared statement, which is what the programs use.
async fn select_42(database: &Database) -> Result<i32, Error> {
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
async fn a_transaction_completes_after_its_requester_is_dropped(pool: PgPool) {
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
    // The select has dropped the requester in the middle of the transaction.
    holder.rollback().await.unwrap();
    wait_until(&pool, ROWS, 1).await;
    assert_eq!(select_42(&database).await.unwrap(), 42);
    assert_eq!(count(&pool, IN_TRANSACTION).await, 0);
    assert_eq!(count(&pool, SESSIONS).await, 1);
}

#[sqlx::test]
async fn a_transaction_that_fails_is_rolled_back_and_keeps_its_session(pool: PgPool) {
    things(&pool).await;
    let database = database(&pool, 1);
    let duplicate = "INSERT INTO things VALUES (1), (2), (1)";
    let failed = database.transaction(move |connection| Box::pin(execute(connection, duplicate))).await;
    assert!(failed.unwrap_err().as_database_error().is_some_and(DatabaseError::is_unique_violation));
    assert_eq!(count(&pool, IN_TRANSACTION).await, 0);
    let first = "SELECT min(pid)::bigint FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tested'";
    let pid = count(&pool, first).await;
    assert_eq!(select_42(&database).await.unwrap(), 42);
    assert_eq!(count(&pool, first).await, pid);
    assert_eq!(count(&pool, ROWS).await, 0);
}

#[sqlx::test]
async fn a_session_with_an_open_transaction_is_not_reused(pool: PgPool) {
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
async fn read_only_sessions_are_replaced(pool: PgPool) {
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
async fn sessions_that_lost_their_prepared_statements_or_plans_are_replaced(pool: PgPool) {
    things(&pool).await;
    let database = database(&pool, 1);
    assert_eq!(select_42(&database).await.unwrap(), 42);
    // A connection pooler does this between two transactions.
    run(&database, "DEALLOCATE ALL").await.unwrap();
    assert_eq!(select_42(&database).await.unwrap(), 42);
    let all = async || {
        let rows = database
            .query(|connection| Box::pin(sqlx::query("SELECT * FROM things").fetch_all(connection)))
            .await;
        rows.map(|rows| rows.len())
    };
    assert_eq!(all().await.unwrap(), 0);
    // Postgres then reports "cached plan must not change result type".
    sqlx::raw_sql("ALTER TABLE things ADD COLUMN name text").execute(&pool).await.unwrap();
    assert_eq!(all().await.unwrap(), 0);
}

#[sqlx::test]
async fn contention_and_constraint_violations_do_not_replace_the_session(pool: PgPool) {
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
        let statement = format!("DO $$ BEGIN RAISE EXCEPTION 'test' USING ERRCODE = '{code}'; END $$").leak();
        assert!(run(&database, statement).await.is_err());
    }
    assert_eq!(pid().await, before);
}

#[sqlx::test]
async fn no_session_is_opened_on_a_read_only_server(pool: PgPool) {
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&pool).await.unwrap();
    let read_only = format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on");
    sqlx::raw_sql(AssertSqlSafe(read_only)).execute(&pool).await.unwrap();
    let error = select_42(&database(&pool, 1)).await.unwrap_err();
    assert!(error.to_string().contains("takes no writes"), "{error}");
}

#[sqlx::test]
async fn work_does_not_run_if_its_requester_is_dropped_before_it_has_a_session(pool: PgPool) {
    let database = database(&pool, 1);
    let (started, has_started) = oneshot::channel::<()>();
    let (end, ends) = oneshot::channel::<()>();
    let busy = tokio::spawn({
        let database = database.clone();
        async move {
            database
                .transaction(move |_| {
                    Box::pin(async move {
                        started.send(()).unwrap();
                        ends.await.unwrap();
                        Ok(())
                    })
                })
                .await
        }
    });
    has_started.await.unwrap();
    let runs = Arc::new(AtomicU32::new(0));
    for _ in 0..500 {
        let runs = runs.clone();
        let waiting = database.query(move |_| {
            runs.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(()) })
        });
        // The first poll requests a session; then the future is dropped.
        assert!(waiting.now_or_never().is_none());
    }
    end.send(()).unwrap();
    busy.await.unwrap().unwrap();
    assert_eq!(select_42(&database).await.unwrap(), 42);
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    assert_eq!(count(&pool, SESSIONS).await, 1);
}

#[sqlx::test]
async fn a_login_on_a_busy_runtime_waits_for_other_tasks_only_while_the_server_responds(pool: PgPool) {
    let sessions = Sessions::new((*pool.connect_options()).clone(), &[]);
    let busy = move || {
        let passes = Arc::new(AtomicU32::new(0));
        let counted = passes.clone();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.spawn(async move {
            loop {
                let started = Instant::now();
                while started.elapsed() < Duration::from_millis(3) {}
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        runtime.block_on(sessions.open()).map(|_| passes.load(Ordering::Relaxed))
    };
    // The hash of a login is computed in 4096 rounds, and sqlx gives way to other tasks after every five.
    let passes = spawn_blocking(busy).await.unwrap().unwrap();
    assert!(passes < 400, "the other task ran {passes} times");
}

#[sqlx::test]
async fn work_that_panics_loses_only_its_session(pool: PgPool) {
    let database = database(&pool, 1);
    let panicked = database.query(|_| -> hamro_shared::database::Work<'_, ()> { panic!("on purpose") }).await;
    assert!(matches!(panicked, Err(Error::WorkerCrashed)));
    assert_eq!(select_42(&database).await.unwrap(), 42);
}

#[sqlx::test]
async fn a_machine_with_a_wrong_clock_uses_the_time_of_the_database(pool: PgPool) {
    let now = Clock::system();
    for offset in [-960_000, 0, 11_000] {
        let now = now.clone();
        let machine =
            Clock::new(move || Timestamp::from_unix_millis(now.now().unix_millis() + offset).unwrap());
        let clock = DatabaseClock::new(machine);
        assert!(!clock.is_measured());
        clock.measure(&database(&pool, 1)).await.unwrap();
        assert!(clock.is_measured());
        let database_now: sqlx::types::chrono::DateTime<sqlx::types::chrono::Utc> =
            sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await.unwrap();
        let difference = clock.clock().now().unix_millis() - Timestamp::from(database_now).unix_millis();
        assert!(difference.abs() < 5_000, "{offset}: {difference}");
    }
}

#[sqlx::test]
async fn a_measured_clock_stays_in_use_while_the_database_is_unreachable(pool: PgPool) {
    let wrong = Clock::stopped_at(Timestamp::from_unix_millis(1_000_000).unwrap());
    let clock = DatabaseClock::new(wrong);
    clock.measure(&database(&pool, 1)).await.unwrap();
    let measured = clock.clock().now();
    let unreachable = (*pool.connect_options()).clone().port(1);
    let unreachable = Database::new(Sessions::new(unreachable, &[]), NonZeroU16::MIN);
    assert!(clock.measure(&unreachable).await.is_err());
    assert_eq!(clock.clock().now(), measured);
    assert!(clock.is_measured());
}
