//! Synchronous replication without its standby: commits wait.

use anyhow::{Result, ensure};
use hamro_e2e::process::Process;
use hamro_e2e::replicated_postgres::ReplicatedPostgres;
use hamro_e2e::replicated_postgres::Server::New;
use hamro_e2e::{FaultTest, Setup, wait_until};

use crate::faults::servers::books_meanwhile;

/// Each of the two workers has two batches in hand, and the api may have begun to write before it knew.
const WAITING_MAX: i64 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn commits_blocked_by_a_lost_synchronous_standby_are_seen_and_lose_nothing() -> Result<()> {
    let postgres = ReplicatedPostgres::start("failover-blocked")?;
    postgres.replicate_synchronously().await?;
    let variables = vec![("DATABASE_URL", postgres.url()?)];
    FaultTest::start(Setup { workers: 2, variables, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            postgres.control("stop", New)?;
            for worker in &mut deployment.workers {
                worker.line_after("commits wait for a synchronous standby; nothing is written").await?;
            }
            let client = deployment.apis[0].client.clone();
            wait_until("the readiness names the cause", async || {
                let response = client.get("/health/ready").await?;
                Ok((response.status == 200 && response.body["database"] == "commits-blocked").then_some(()))
            })
            .await?;
            let wait =
                deployment.workers[0].metrics().await?.value("hamro_database_commit_wait_seconds", &[]);
            ensure!(wait > Some(5.0), "the metric says {wait:?}");
            // The result of that commit is then unknown: the next attempt must look its tickets up.
            wait_until("a worker gives up a commit", async || {
                let has_given_up =
                    |worker: &Process| worker.printed().contains("the database does not respond");
                Ok(deployment.workers.iter().any(has_given_up).then_some(()))
            })
            .await?;
            books_meanwhile(clients).await?;
            let waiting = postgres.waiting_commits().await?;
            ensure!((1..=WAITING_MAX).contains(&waiting), "{waiting} sessions wait for the standby");
            postgres.control("start", New)?;
            for worker in &mut deployment.workers {
                worker.line_after("commits no longer wait").await?;
            }
            Ok(())
        })
        .await
}
