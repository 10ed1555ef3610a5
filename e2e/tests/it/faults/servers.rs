//! Servers that are stopped, frozen or short of memory, under load.

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::crowd::Crowd;
use hamro_e2e::journal::{Way, Wish};
use hamro_e2e::outage::Outage;
use hamro_e2e::{Deployment, Setup, Trial};
use tokio::time::timeout;

pub async fn apis_are_ready(deployment: &mut Deployment) -> Result<()> {
    for api in &deployment.apis {
        api.client.wait_until_ready().await?;
    }
    deployment.reconnect().await
}

/// Checks that the api accepts a booking at once, whatever the state of Postgres.
async fn books_meanwhile(crowd: &Crowd) -> Result<()> {
    let (customer, key) = ("meanwhile".to_owned(), Some("meanwhile".to_owned()));
    let wish = Wish { customer, key, seats: crowd.first_seat(), way: Way::Leave };
    timeout(Duration::from_secs(3), crowd.pursue(&wish))
        .await
        .context("the booking was not accepted in time")?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_broker_loses_nothing() -> Result<()> {
    Trial::start(Setup { apis: 2, workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, crowd| {
            let outage = Outage::of_broker(deployment).await?;
            crowd.is_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_frozen_beyond_its_heartbeat_loses_nothing() -> Result<()> {
    let url = Deployment::broker_with_heartbeat(2)?.leak();
    Trial::start(Setup { workers: 2, variables: vec![("AMQP_URL", url)], ..Setup::default() })
        .await?
        .passes(async |deployment, crowd| {
            let outage = Outage::freeze("rabbitmq")?;
            for worker in &mut deployment.workers {
                worker.line_after("broker connection for consuming lost").await?;
            }
            crowd.is_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_short_of_memory_loses_nothing() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, crowd| {
            let outage = Outage::memory_alarm()?;
            crowd.is_refused(50).await?;
            outage.end()?;
            apis_are_ready(deployment).await
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_and_restarted_postgres_loses_nothing() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |deployment, crowd| {
            let outage = Outage::of("postgres")?;
            for worker in &mut deployment.workers {
                worker.line_after("retrying a batch of").await?;
            }
            books_meanwhile(crowd).await?;
            outage.end()
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_postgres_loses_nothing() -> Result<()> {
    Trial::start(Setup { workers: 2, ..Setup::default() })
        .await?
        .passes(async |_, crowd| {
            let outage = Outage::freeze("postgres")?;
            books_meanwhile(crowd).await?;
            // Status reads fail while the database is frozen.
            crowd.is_unanswered(5).await?;
            outage.end()
        })
        .await
}
