//! Parcels that reached no queue.

use anyhow::{Context, Result, ensure};
use hamro_e2e::dead_letter_setup::parcel;
use hamro_e2e::{Deployment, wait_until};
use hamro_shared::queue::publish_confirmed;
use lapin::options::QueueDeleteOptions;
use lapin::types::FieldTable;
use nix::sys::signal::Signal;

use super::{envelopes, without_workers};

#[tokio::test]
async fn a_booking_accepted_while_the_intake_queue_is_missing_is_settled() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (intake, unrouted) = (deployment.topology.intake_queue(), deployment.topology.unrouted_queue());
        // The api declares the queue again as soon as it notices. Repeat until a booking arrives before that.
        let accepted = wait_until("a booking has reached no queue", async || {
            deployment.channel.queue_delete(intake.as_str().into(), QueueDeleteOptions::default()).await?;
            let accepted = client.create_booking("alice", &seats[..1]).await?;
            ensure!(accepted.status == 202, "{accepted:?}");
            Ok((deployment.messages_in(&unrouted).await? > 0).then_some(accepted))
        })
        .await?;
        deployment.start_worker(&[]).await?;
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_unrouted_parcel_waits_while_the_intake_queue_is_full() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let (intake, unrouted) = (deployment.topology.intake_queue(), deployment.topology.unrouted_queue());
        // A message that only a newer worker can read stops the consumer, so the queue stays full.
        let newer = String::from_utf8(parcel(&envelopes(&seats[..1])?))?.replace("\"v\":1", "\"v\":9");
        deployment.limit_queue(1).await?;
        wait_until("the queue is full", async || {
            Ok(deployment.publish(newer.as_bytes()).await.is_err().then_some(()))
        })
        .await?;
        let full = deployment.messages_in(&intake).await?;
        let unrouted_parcel = parcel(&envelopes(&seats[1..2])?);
        publish_confirmed(&deployment.channel, &unrouted, &unrouted_parcel, FieldTable::default()).await?;
        let number = deployment.start_worker(&[]).await?;
        deployment.workers[number].line_after(" is full; an unrouted parcel is waiting").await?;

        deployment.unlimit_queue().await?;
        wait_until("the unrouted parcel is in the queue", async || {
            Ok((deployment.messages_in(&intake).await? == full + 1).then_some(()))
        })
        .await?;
        assert!(deployment.take_messages().await?.contains(&unrouted_parcel));
        let mut worker = deployment.workers.pop().context("no worker")?;
        worker.signal(Signal::SIGTERM)?;
        assert!(worker.ended().await?.success(), "{}", worker.printed());
        Ok(())
    })
    .await
}
