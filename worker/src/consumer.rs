//! Takes parcels from the queue, has them settled, and acknowledges them.

use std::time::Duration;

use anyhow::bail;
use futures_util::{FutureExt, StreamExt};
use hamro_shared::queue::Session;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::announcer::Announcer;
use crate::batch::{Batch, TooNew};
use crate::config::ConsumerConfig;
use crate::settler::Settler;

/// How long a worker that is too old keeps away from the queue before it looks again. Each look costs the parcels in
/// the queue one of their deliveries.
const TOO_OLD_PAUSE: Duration = Duration::from_mins(1);

/// Receives, settles, acknowledges, announces.
pub struct Consumer {
    pub config: ConsumerConfig,
    pub settler: Settler,
    pub announcer: Announcer,
    pub queue: String,
}

/// What was taken from the queue together.
#[derive(Default)]
struct Received {
    batch: Batch,
    /// The last delivery of the batch; `None` if there was none before the queue ended or got too new.
    last: Option<Delivery>,
    /// Set if the delivery after the last can only be read by a newer worker.
    too_new: Option<TooNew>,
}

impl Session for Consumer {
    const ROLE: &'static str = "consuming";

    /// Works until `stop` is cancelled, and then finishes the batch in hand.
    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let queue = self.queue.as_str();
        channel.basic_qos(self.config.prefetch.get(), BasicQosOptions::default()).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let mut deliveries = channel.basic_consume(queue.into(), "".into(), options, arguments).await?;
        info!("consuming from {queue}");
        loop {
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                received = self.receive(&mut deliveries) => received?,
            };
            match received {
                Received { last: None, too_new: None, .. } => bail!("the queue {} has gone", self.queue),
                Received { batch, last, too_new } => {
                    if let Some(last) = last {
                        self.settle(batch, &last).await?;
                    }
                    if let Some(too_new) = too_new {
                        return keep_away(channel, too_new, stop).await;
                    }
                }
            }
        }
    }
}

impl Consumer {
    /// Waits for a delivery, then takes what else is there, up to the batch limit: small batches and low latency when it
    /// is quiet, large ones in a rush, and no lingering in between.
    async fn receive(&self, deliveries: &mut lapin::Consumer) -> anyhow::Result<Received> {
        let mut received = Received::default();
        let mut next = deliveries.next().await;
        while let Some(delivery) = next {
            let delivery = delivery?;
            if let Err(too_new) = received.batch.add_parcel(&delivery.data) {
                received.too_new = Some(too_new);
                break;
            }
            received.last = Some(delivery);
            if received.batch.len() >= self.config.batch_max.get() {
                break;
            }
            next = deliveries.next().now_or_never().flatten();
        }
        Ok(received)
    }

    async fn settle(&mut self, batch: Batch, last: &Delivery) -> anyhow::Result<()> {
        let started = Instant::now();
        let size = batch.len();
        let tickets = self.settler.settle(batch).await;
        self.announcer.announce(tickets);
        // One batch at a time is in hand on this channel, and all before it have been acknowledged: `multiple` reaches
        // over just the parcels of this one.
        if !last.acker.ack(BasicAckOptions { multiple: true }).await? {
            bail!("the channel closed while a batch was in hand: its parcels will come again");
        }
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        debug!(batch.size = size, duration_ms, "settled a batch of {size}");
        Ok(())
    }
}

/// Puts back what only a newer worker can read, and leaves the queue alone for a while.
#[expect(
    clippy::disallowed_methods,
    reason = "there is nothing to wait for but somebody who upgrades this worker"
)]
async fn keep_away(channel: &Channel, too_new: TooNew, stop: &CancellationToken) -> anyhow::Result<()> {
    error!("not consuming for {TOO_OLD_PAUSE:?}: {too_new}");
    channel.close(200, "too old".into()).await?;
    tokio::select! {
        () = tokio::time::sleep(TOO_OLD_PAUSE) => Err(too_new.into()),
        () = stop.cancelled() => Ok(()),
    }
}
