//! A server that is away, silent or short of memory, under load.

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::crowd::Crowd;
use hamro_e2e::journal::{Way, Wish};
use hamro_e2e::outage::Outage;
use hamro_e2e::{Installation, Setup, Trial};
use tokio::time::timeout;

pub async fn apis_are_ready(installation: &mut Installation) -> Result<()> {
    for api in &installation.apis {
        api.client.wait_until_ready().await?;
    }
    installation.reconnect().await
}

/// The intake takes bookings at once, whatever Postgres does.
async fn books_meanwhile(crowd: &Crowd) -> Result<()> {
    let (customer, key) = ("meanwhile".to_owned(), Some("meanwhile".to_owned()));
    let wish = Wish { customer, key, seats: crowd.first_seat(), way: Way::Leave };
    timeout(Duration::from_secs(3), crowd.pursue(&wish)).await.context("it was kept waiting")?
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
            books_meanwhile(crowd).await?;
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
            books_meanwhile(crowd).await?;
            // Those who ask what has become of their tickets are told that nobody knows.
            crowd.is_unanswered(5).await?;
            outage.end()
        })
        .await
}
