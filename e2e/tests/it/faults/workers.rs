//! Workers that die or freeze at critical moments.

use std::os::unix::process::ExitStatusExt;

use anyhow::Result;
use hamro_e2e::{Deployment, FaultTest, Setup, wait_until};
use nix::sys::signal::Signal;
use sqlx::AssertSqlSafe;

/// Kills one of two workers when it reaches this point for the thirtieth time, and starts a replacement.
async fn a_worker_is_killed(point: &str) -> Result<()> {
    let mut test = FaultTest::start(Setup::default()).await?;
    let doomed = test.deployment.start_worker(&[("HAMRO_FAULTS", &format!("{point}=kill@30"))]).await?;
    test.passes(async |deployment, _| {
        let mut killed = deployment.workers.remove(doomed);
        assert_eq!(killed.ended().await?.signal(), Some(Signal::SIGABRT as i32), "{}", killed.printed());
        deployment.start_worker(&[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_before_its_transaction_breaks_no_guarantee() -> Result<()> {
    a_worker_is_killed("worker.before-begin").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_before_its_commit_breaks_no_guarantee() -> Result<()> {
    a_worker_is_killed("worker.before-commit").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_between_commit_and_acknowledgement_breaks_no_guarantee() -> Result<()> {
    a_worker_is_killed("worker.after-commit").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_response_is_lost_is_not_repeated() -> Result<()> {
    let mut test = FaultTest::start(Setup::default()).await?;
    let (proxy, url) = test.deployment.database_behind_proxy().await?;
    test.deployment.start_worker(&[("DATABASE_URL", &url)]).await?;
    test.passes(async |_, clients| {
        for _ in 0..5 {
            proxy.cut_after_request("COMMIT");
            wait_until("the response to a COMMIT is lost", async || Ok(proxy.has_cut().then_some(())))
                .await?;
            clients.wait_for_ended(20).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_frozen_inside_its_transaction_releases_its_seats() -> Result<()> {
    // Parcels prefetched by the frozen worker wait until its connection counts as lost, so it prefetches only two.
    let setup = Setup { workers: 3, variables: vec![("PREFETCH", "2")], ..Setup::default() };
    FaultTest::start(setup)
        .await?
        .passes(async |deployment, clients| {
            let frozen = &deployment.workers[0];
            let transaction = format!(
                "SELECT coalesce(max(state), 'none') FROM pg_stat_activity \
                 WHERE application_name = 'hamro-worker-{}' AND state <> 'idle'",
                frozen.id()?
            );
            let state = async || {
                let query = sqlx::query_scalar(AssertSqlSafe(transaction.clone()));
                anyhow::Ok(query.fetch_one(&deployment.pool).await?)
            };
            wait_until("the worker is frozen inside a transaction", async || {
                frozen.signal(Signal::SIGSTOP)?;
                let state: String = state().await?;
                if state == "idle in transaction" {
                    return Ok(Some(()));
                }
                frozen.signal(Signal::SIGCONT)?;
                Ok(None)
            })
            .await?;
            wait_until("Postgres has ended its transaction", async || {
                let state: String = state().await?;
                Ok((state == "none").then_some(()))
            })
            .await?;
            clients.wait_for_ended(20).await?;
            frozen.signal(Signal::SIGCONT)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_past_their_deadline_expire_and_the_others_are_sold() -> Result<()> {
    let variables = vec![("BOOKING_DEADLINE", "2s"), ("BOOKING_WAIT", "1s")];
    FaultTest::start(Setup { variables, workers: 1, ..Setup::default() })
        .await?
        .passes(async |deployment, _| {
            deployment.kill_worker(0).await?;
            expired(deployment, 10).await?;
            deployment.start_worker(&[]).await?;
            Ok(())
        })
        .await
}

/// Waits until this many bookings have expired.
pub async fn expired(deployment: &Deployment, bookings: i64) -> Result<()> {
    wait_until("bookings expire", async || {
        let expired: i64 = sqlx::query_scalar("SELECT count(*) FROM bookings WHERE status = 'expired'")
            .fetch_one(&deployment.pool)
            .await?;
        Ok((expired >= bookings).then_some(()))
    })
    .await
}
