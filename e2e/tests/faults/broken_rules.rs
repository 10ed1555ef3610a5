//! The checker is checked: with a rule broken, it names the promise that is not kept.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use hamro_e2e::checker::Promise;
use hamro_e2e::{Installation, Setup, Trial, ledger, wait_until};

use crate::intake::{ONE_BY_ONE, fill_the_queue};
use crate::workers::expired;

/// Clients wait in vain for tickets that are lost.
const LITTLE_PATIENCE: Duration = Duration::from_secs(2);

async fn start(workers: usize, mut variables: Vec<(&'static str, &'static str)>) -> Result<Trial> {
    variables.push(("BOOKING_WAIT", "1s"));
    Trial::start_with_patience(Setup { workers, variables, ..Setup::default() }, LITTLE_PATIENCE).await
}

/// A worker that dies at its second batch, which is a large one: it grows while the first cannot lock its seats.
async fn dies_with_a_large_batch(
    installation: &mut Installation,
    faults: &str,
    backlog: impl Future<Output = Result<()>>,
) -> Result<()> {
    installation.kill_worker(0).await?;
    let mut holder = installation.pool.begin().await?;
    sqlx::raw_sql("LOCK TABLE seats IN EXCLUSIVE MODE").execute(&mut *holder).await?;
    let doomed = installation.start_worker(&[("HAMRO_FAULTS", faults)]).await?;
    installation.worker_waits_for_a_lock().await?;
    // What is in the queue from here on is not in the first batch.
    backlog.await?;
    wait_until("the worker has received the others", async || {
        Ok((installation.waiting_messages().await? == 0).then_some(()))
    })
    .await?;
    holder.rollback().await?;
    installation.workers.remove(doomed).ended().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_acknowledges_before_its_commit_is_found_out() -> Result<()> {
    let broken = start(1, Vec::new())
        .await?
        .breaks(async |installation, crowd| {
            let faults = "worker.early-ack=break,worker.before-commit=kill@2";
            dies_with_a_large_batch(installation, faults, crowd.is_accepted(15)).await?;
            installation.start_worker(&[]).await?;
            Ok(())
        })
        .await?;
    assert_eq!(broken, BTreeSet::from([Promise::EveryTicketEnds]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_does_not_look_up_what_was_settled_is_found_out() -> Result<()> {
    let broken = start(1, Vec::new())
        .await?
        .breaks(async |installation, crowd| {
            let faults = "worker.after-commit=kill@2";
            dies_with_a_large_batch(installation, faults, crowd.is_accepted(15)).await?;
            // Some have seen how their tickets ended.
            crowd.has_pursued(5).await?;
            installation.start_worker(&[("HAMRO_FAULTS", "worker.no-look-up=break")]).await?;
            Ok(())
        })
        .await?;
    let expected = [Promise::FinalStatusStands, Promise::NoFalseRefusal, Promise::BooksBalance];
    assert_eq!(broken, BTreeSet::from(expected));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_lock_seats_as_they_come_are_found_out() -> Result<()> {
    let variables = vec![("HAMRO_FAULTS", "worker.unordered-locks=break"), ("PREFETCH", "1")];
    let broken = start(4, variables)
        .await?
        .breaks(async |installation, crowd| {
            while ledger::deadlocks(&installation.pool).await? == 0 {
                crowd.burst(200).await?;
            }
            Ok(())
        })
        .await?;
    assert_eq!(broken, BTreeSet::from([Promise::NoDeadlock]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_knows_no_deadline_is_found_out() -> Result<()> {
    let variables = vec![("BOOKING_DEADLINE", "2s"), ("BOOKING_WAIT", "1s")];
    let broken = Trial::start(Setup { variables, workers: 1, ..Setup::default() })
        .await?
        .breaks(async |installation, _| {
            installation.kill_worker(0).await?;
            expired(installation, 10).await?;
            installation.start_worker(&[("HAMRO_FAULTS", "worker.no-deadline=break")]).await?;
            Ok(())
        })
        .await?;
    assert_eq!(broken, BTreeSet::from([Promise::DeadlinesHold]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_takes_a_refusal_for_a_receipt_is_found_out() -> Result<()> {
    let mut variables = ONE_BY_ONE.to_vec();
    variables.push(("HAMRO_FAULTS", "api.nack-is-ack=break"));
    let broken = start(1, variables)
        .await?
        .breaks(async |installation, crowd| fill_the_queue(installation, crowd, crowd.is_accepted(150)).await)
        .await?;
    assert_eq!(broken, BTreeSet::from([Promise::EveryTicketEnds]));
    Ok(())
}
