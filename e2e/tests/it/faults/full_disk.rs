//! Servers whose disks are full, or nearly so, under load. Each server is private to its test.

use anyhow::Result;
use hamro_e2e::small_disk::SmallDisk;
use hamro_e2e::{FaultTest, Setup};

use super::servers::{apis_are_ready, books_meanwhile};

/// Megabytes. The broker blocks publishers while it has less than 64.
const LITTLE: u32 = 32;
const NOTHING: u32 = 0;

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_with_a_full_disk_loses_nothing() -> Result<()> {
    let Some(postgres) = SmallDisk::postgres("full-data")? else { return Ok(()) };
    let variables = vec![("DATABASE_URL", postgres.url())];
    FaultTest::start(Setup { workers: 2, variables, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            let outage = postgres.fill(NOTHING)?;
            for worker in &mut deployment.workers {
                worker.line_after("No space left on device").await?;
            }
            books_meanwhile(clients).await?;
            outage.end()
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_ends_because_it_cannot_write_its_log_loses_nothing() -> Result<()> {
    let Some(postgres) = SmallDisk::postgres("full-log")? else { return Ok(()) };
    let variables = vec![("DATABASE_URL", postgres.url())];
    FaultTest::start(Setup { workers: 2, variables, ..Setup::default() })
        .await?
        .passes(async |_, clients| {
            let outage = postgres.fill(NOTHING)?;
            // The server crashes as soon as it needs a new log file, and its recovery needs one too.
            postgres.use_up_log_files().await?;
            postgres.ended().await?;
            books_meanwhile(clients).await?;
            outage.end()?;
            postgres.start_again()
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_short_of_disk_space_loses_nothing() -> Result<()> {
    let Some(broker) = SmallDisk::broker("little-disk")? else { return Ok(()) };
    let variables = vec![("AMQP_URL", broker.url())];
    FaultTest::start(Setup { workers: 2, variables, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            broker.measure_often()?;
            let outage = broker.fill(LITTLE)?;
            deployment.apis[0].process.line_after("low on disk").await?;
            clients.wait_for_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_a_full_disk_loses_nothing() -> Result<()> {
    let Some(broker) = SmallDisk::broker("full-disk")? else { return Ok(()) };
    let variables = vec![("AMQP_URL", broker.url()), ("CONFIRM_TIMEOUT", "1s")];
    FaultTest::start(Setup { workers: 2, variables, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            broker.has_stored_queue(deployment).await?;
            broker.disable_alarm()?;
            let outage = broker.fill(NOTHING)?;
            broker.prints("enospc").await?;
            clients.wait_for_refused(50).await?;
            outage.end()?;
            // RabbitMQ 3.10 does not start its quorum queues again by itself.
            broker.kill()?;
            broker.start_again()?;
            apis_are_ready(deployment).await
        })
        .await
}
