//! Links to the servers that lose and delay packets, under load.

use std::time::Duration;

use anyhow::{Context, Result};
use hamro_e2e::lossy_link::{LossyLink, Quality};
use hamro_e2e::{FaultTest, Setup, wait_until};

/// Two data centres on different continents, with a fault between them. A transaction of several round trips takes about
/// a second.
const BAD: Quality = Quality {
    latency: Duration::from_millis(30),
    jitter: Duration::from_millis(30),
    loss: 0.03,
    bytes_per_second: 256e3,
};

#[tokio::test(flavor = "multi_thread")]
async fn links_that_lose_and_delay_packets_break_no_guarantee() -> Result<()> {
    let mut test = FaultTest::start(Setup { workers: 0, ..Setup::default() }).await?;
    let deployment = &mut test.deployment;
    let (to_postgres, database_url) = LossyLink::start(&setting(deployment, "DATABASE_URL")?).await?;
    let (to_broker, amqp_url) = LossyLink::start(&setting(deployment, "AMQP_URL")?).await?;
    let behind_links = [("DATABASE_URL", database_url.as_str()), ("AMQP_URL", amqp_url.as_str())];
    deployment.start_api(&behind_links).await?;
    deployment.start_worker(&behind_links).await?;
    deployment.start_worker(&behind_links).await?;
    test.clients.set_endpoints(&deployment.apis)?;
    test.passes(async |_, clients| {
        for link in [&to_postgres, &to_broker] {
            link.set(BAD);
        }
        clients.wait_for_ended(60).await?;
        wait_until("both links have lost packets", async || {
            Ok([&to_postgres, &to_broker].iter().all(|link| link.lost() >= 20).then_some(()))
        })
        .await?;
        for link in [&to_postgres, &to_broker] {
            link.set(Quality::GOOD);
        }
        Ok(())
    })
    .await
}

/// The value of a setting that every process of the deployment has.
fn setting(deployment: &hamro_e2e::Deployment, name: &str) -> Result<String> {
    let settings = deployment.environment(&[]);
    let value = settings.into_iter().find_map(|(known, value)| (known == name).then_some(value));
    value.with_context(|| format!("no {name}"))
}
