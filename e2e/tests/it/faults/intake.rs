//! Faults of the intake: an api that dies at a critical moment, a broken connection to the broker, a full queue.

use std::os::unix::process::ExitStatusExt;

use anyhow::Result;
use futures_util::future::try_join;
use hamro_e2e::proxy::Proxy;
use hamro_e2e::simulated_clients::SimulatedClients;
use hamro_e2e::{Deployment, FaultTest, Setup, wait_until};
use nix::sys::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn an_api_killed_between_confirm_and_response_breaks_no_guarantee() -> Result<()> {
    let mut test = FaultTest::start(Setup::default()).await?;
    let doomed = test.deployment.start_api(&[("HAMRO_FAULTS", "api.after-confirm=kill@50")]).await?;
    test.clients.set_endpoints(&test.deployment.apis)?;
    test.passes(async |deployment, clients| {
        let mut killed = deployment.apis.remove(doomed).process;
        assert_eq!(killed.ended().await?.signal(), Some(Signal::SIGABRT as i32), "{}", killed.printed());
        deployment.start_api(&[]).await?;
        clients.set_endpoints(&deployment.apis)?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_way_broker_connection_breaks_no_guarantee() -> Result<()> {
    let mut test = FaultTest::start(Setup::default()).await?;
    let (proxy, url) = test.deployment.broker_behind_proxy().await?;
    let cut_off = test.deployment.start_api(&[("AMQP_URL", &url), ("CONFIRM_TIMEOUT", "1s")]).await?;
    test.clients.set_endpoints(&test.deployment.apis)?;
    test.passes(async |deployment, clients| {
        let client = &deployment.apis[cut_off].client;
        for lose_one_way in [Proxy::drop_responses, Proxy::drop_requests] {
            lose_one_way(&proxy);
            wait_until("the api drops the connection", async || {
                Ok((client.get("/queue").await?.body["accepting"] == false).then_some(()))
            })
            .await?;
            proxy.cut();
            client.wait_until_ready().await?;
            clients.wait_for_ended(20).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_under_256_clients_keeps_no_refused_booking() -> Result<()> {
    let setup = Setup { workers: 2, variables: ONE_BY_ONE.to_vec(), ..Setup::default() };
    FaultTest::start(setup)
        .await?
        .passes(async |deployment, clients| {
            fill_the_queue(deployment, clients, clients.wait_for_refused(300)).await
        })
        .await
}

/// Settings with which workers receive one booking at a time.
pub const ONE_BY_ONE: [(&str, &str); 2] = [("BATCH_MAX", "1"), ("PREFETCH", "1")];

/// Limits the queue to a few messages, and freezes the workers until it is full.
pub async fn fill_the_queue(
    deployment: &Deployment,
    clients: &SimulatedClients,
    is_full: impl Future<Output = Result<()>>,
) -> Result<()> {
    deployment.limit_queue(5).await?;
    for worker in &deployment.workers {
        worker.signal(Signal::SIGSTOP)?;
    }
    let emptying = async {
        is_full.await?;
        for worker in &deployment.workers {
            worker.signal(Signal::SIGCONT)?;
        }
        // While they drain the queue, confirms and refusals alternate.
        clients.wait_for_accepted(100).await?;
        deployment.unlimit_queue().await
    };
    try_join(clients.burst(256), emptying).await?;
    Ok(())
}
