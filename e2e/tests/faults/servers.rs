//! A server that is away, silent or short of memory, under load.

use anyhow::Result;
use hamro_e2e::outage::Outage;
use hamro_e2e::{Installation, Setup, Trial};

async fn apis_are_ready(installation: &mut Installation) -> Result<()> {
    for api in &installation.apis {
        api.client.wait_until_ready().await?;
    }
    installation.reconnect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_and_started_again_has_lost_nothing() -> Result<()> {
    Trial::start(Setup { apis: 2, workers: 2, ..Setup::default() })
        .await?
        .passes(async |installation, crowd| {
            let outage = Outage::of_broker(installation).await?;
            crowd.is_refused(50).await?;
            outage.end()?;
            apis_are_ready(installation).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_frozen_beyond_its_heartbeat_has_lost_nothing() -> Result<()> {
    let url = Installation::broker_with_heartbeat(2)?.leak();
    Trial::start(Setup { workers: 2, variables: vec![("AMQP_URL", url)], ..Setup::default() })
        .await?
        .passes(async |installation, crowd| {
            let outage = Outage::freeze("rabbitmq")?;
            for worker in &mut installation.workers {
                worker.line_after("the connection for consuming is lost").await?;
            }
            crowd.is_refused(50).await?;
            outage.end()?;
            apis_are_ready(installation).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_short_of_memory_has_lost_nothing() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |installation, crowd| {
            let outage = Outage::memory_alarm()?;
            crowd.is_refused(50).await?;
            outage.end()?;
            apis_are_ready(installation).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_killed_and_started_again_has_lost_nothing() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |installation, crowd| {
            let outage = Outage::of("postgres")?;
            for worker in &mut installation.workers {
                worker.line_after("again:").await?;
            }
            crowd.is_accepted(10).await?;
            outage.end()
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_is_frozen_has_lost_nothing() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |_, crowd| {
            let outage = Outage::freeze("postgres")?;
            // Bookings are taken, and those who ask what has become of them are told that nobody knows.
            crowd.is_accepted(10).await?;
            crowd.is_unanswered(5).await?;
            outage.end()
        })
        .await
}
