//! What every test verifies about its deployment at its end: see `Deployment::run`.

use std::panic::AssertUnwindSafe;

use anyhow::{Context, Error, Result, bail};
use futures_util::FutureExt;
use hamro_e2e::dead_letter_setup::parcel;
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Deployment, Setup};
use nix::sys::signal::Signal;

/// The error with which a test with this body fails.
async fn failure(body: impl AsyncFnOnce(&mut Deployment) -> Result<()>) -> Result<Error> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, body).await.err().context("the test passes")
}

#[tokio::test]
async fn a_message_that_is_left_in_a_queue_fails_the_test() -> Result<()> {
    let error = failure(async |deployment| deployment.publish(&parcel([&envelope("alice", &[1])?])).await);
    let error = format!("{:#}", error.await?);
    assert!(error.contains("bookings.intake still has 1 messages"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_error_that_a_process_logs_fails_the_test() -> Result<()> {
    let error = failure(async |deployment| {
        let worker = deployment.start_worker(&[("HAMRO_FAULTS", "clock=+11s")]).await?;
        deployment.workers[worker].line_after(" ERROR ").await?;
        Ok(())
    });
    let error = format!("{:#}", error.await?);
    assert!(error.contains("worker-0 logged an error"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_process_that_died_fails_the_test() -> Result<()> {
    let error = failure(async |deployment| {
        deployment.apis[0].process.signal(Signal::SIGKILL)?;
        deployment.apis[0].process.ended().await?;
        Ok(())
    });
    let error = format!("{:#}", error.await?);
    assert!(error.contains("api-0 has ended"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_inconsistent_database_fails_the_test() -> Result<()> {
    let error = failure(async |deployment| {
        let statement = "UPDATE ticket_tiers SET available = available - 1 WHERE id = 1";
        sqlx::raw_sql(statement).execute(&deployment.pool).await?;
        Ok(())
    });
    let error = format!("{:#}", error.await?);
    assert!(error.contains("1 tiers have counters that differ from their seats"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_failed_test_reports_its_own_error_and_leaves_no_database() -> Result<()> {
    let mut name = String::new();
    let error = failure(async |deployment| {
        deployment.name().clone_into(&mut name);
        // Not reported, because the test has failed before.
        deployment.publish(b"no parcel").await?;
        bail!("the error of the test")
    });
    let error = format!("{:#}", error.await?);
    assert_eq!(error, "the error of the test");
    assert!(!exists(name).await?);
    Ok(())
}

#[tokio::test]
async fn a_test_that_panics_leaves_no_database() -> Result<()> {
    let mut name = String::new();
    let test = failure(async |deployment| {
        deployment.name().clone_into(&mut name);
        panic!("the panic of the test")
    });
    let panic = AssertUnwindSafe(test).catch_unwind().await.err().context("the test did not panic")?;
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the panic of the test"));
    assert!(!exists(name).await?);
    Ok(())
}

/// Whether the database exists.
async fn exists(name: String) -> Result<bool> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        Ok(sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&deployment.pool)
            .await?)
    })
    .await
}
