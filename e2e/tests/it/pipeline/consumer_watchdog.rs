//! A worker whose consumer receives nothing although its connection works.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use hamro_e2e::proxy::Proxy;
use hamro_e2e::{Deployment, Setup, wait_until};
use hamro_shared::queue::consume;
use lapin::options::{BasicCancelOptions, BasicNackOptions};

/// The broker counts a message as delivered that never arrived.
#[tokio::test]
async fn a_lost_delivery_to_an_idle_worker_is_still_settled() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (proxy, url) = deployment.broker_behind_proxy().await?;
        deployment.start_worker(&[("AMQP_URL", &url)]).await?;
        proxy.drop_responses();
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        wait_until("the delivery is lost", async || Ok(proxy.has_dropped_response().then_some(()))).await?;
        proxy.deliver_responses();
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}

/// Starts a worker that does not know that its queue was deleted and declared again.
async fn start_silently_cancelled_worker(deployment: &mut Deployment) -> Result<Proxy> {
    let (proxy, url) = deployment.broker_behind_proxy().await?;
    deployment.start_worker(&[("AMQP_URL", &url)]).await?;
    // The `basic.cancel` that the broker sends does not arrive.
    proxy.drop_responses();
    deployment.delete_queue().await?;
    wait_until("the cancellation is lost", async || Ok(proxy.has_dropped_response().then_some(()))).await?;
    deployment.topology.declare(&deployment.channel).await?;
    proxy.deliver_responses();
    Ok(proxy)
}

#[tokio::test]
async fn a_silently_cancelled_consumer_resubscribes_while_others_consume() -> Result<()> {
    Deployment::run(Setup { workers: 0, expects_errors: true, ..Setup::default() }, async |deployment| {
        let _proxy = start_silently_cancelled_worker(deployment).await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        // Another consumer receives one message and keeps it.
        let channel = &deployment.channel;
        let mut other = consume(channel, &deployment.topology.intake_queue(), 1).await?;
        let first = client.create_booking("alice", &seats[..1]).await?;
        let kept = other.next().await.context("the queue was deleted")??;
        let second = client.create_booking("bob", &seats[1..2]).await?;
        assert_eq!(client.final_status(second.location()?).await?["status"], "confirmed");
        channel.basic_cancel(other.tag(), BasicCancelOptions::default()).await?;
        kept.acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await?;
        assert_eq!(client.final_status(first.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_silently_cancelled_consumer_resubscribes_when_it_is_the_only_one() -> Result<()> {
    Deployment::run(Setup { workers: 0, expects_errors: true, ..Setup::default() }, async |deployment| {
        let _proxy = start_silently_cancelled_worker(deployment).await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}
