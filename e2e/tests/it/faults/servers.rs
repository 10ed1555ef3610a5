//! Servers that are stopped, frozen or short of memory, under load.

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::outage::Outage;
use hamro_e2e::simulated_clients::{ClientBehaviour, SimulatedClients};
use hamro_e2e::{Deployment, FaultTest, Setup};
use tokio::time::timeout;

/// Less than Postgres is away for, and than a client retries for. A busy machine takes seconds.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(10);

pub async fn apis_are_ready(deployment: &mut Deployment) -> Result<()> {
    for api in &deployment.apis {
        api.client.wait_until_ready().await?;
    }
    deployment.reconnect().await
}

/// Checks that the api accepts a booking, whatever the state of Postgres.
pub async fn books_meanwhile(clients: &SimulatedClients) -> Result<()> {
    let intent = clients.intent_for_free_seat();
    timeout(ACCEPTED_WITHIN, clients.run_intent(&intent, ClientBehaviour::DoNotFollow))
        .await
        .context("the booking was not accepted in time")?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_broker_loses_nothing() -> Result<()> {
    FaultTest::start(Setup { apis: 2, workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            let outage = Outage::of_broker(deployment).await?;
            clients.wait_for_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_frozen_beyond_its_heartbeat_loses_nothing() -> Result<()> {
    let url = Deployment::broker_with_heartbeat(2)?.leak();
    FaultTest::start(Setup { workers: 2, variables: vec![("AMQP_URL", url)], ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            let outage = Outage::freeze("rabbitmq")?;
            for worker in &mut deployment.workers {
                worker.line_after("broker connection for consuming lost").await?;
            }
            clients.wait_for_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_short_of_memory_loses_nothing() -> Result<()> {
    FaultTest::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            let outage = Outage::memory_alarm()?;
            clients.wait_for_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_postgres_loses_nothing() -> Result<()> {
    FaultTest::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, clients| {
            let outage = Outage::of("postgres")?;
            for worker in &mut deployment.workers {
                worker.line_after("retrying a batch of").await?;
            }
            books_meanwhile(clients).await?;
            outage.end()
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_postgres_loses_nothing() -> Result<()> {
    FaultTest::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |_, clients| {
            let outage = Outage::freeze("postgres")?;
            books_meanwhile(clients).await?;
            // Status reads fail while the database is frozen.
            clients.wait_for_failed_reads(5).await?;
            outage.end()
        })
        .await
}
