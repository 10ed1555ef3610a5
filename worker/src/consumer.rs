//! Takes parcels from the queue, has them settled, and acknowledges them.

use anyhow::bail;
use futures_util::{FutureExt, StreamExt};
use hamro_shared::queue::{Session, SettledMessage};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::announcer::Announcer;
use crate::batch::{Batch, TooNew};
use crate::config::ConsumerConfig;
use crate::readiness::Readiness;
use crate::settler::{Settler, Stopped};

/// Receives, settles, acknowledges, announces.
pub struct Consumer {
    pub config: ConsumerConfig,
    pub settler: Settler,
    pub announcer: Announcer,
    pub readiness: Readiness,
    pub queue: String,
}

/// What was taken from the queue together.
struct Received {
    batch: Batch,
    parcels: u32,
    /// The last delivery of the batch; `None` if there was none.
    last: Option<Delivery>,
    next: Next,
}

/// What is to be done once that is settled.
enum Next {
    Receive,
    /// The broker has ended the delivery: the queue has gone, or was made anew.
    Reconnect,
    /// The delivery after the last can only be read by a newer worker.
    KeepAway(TooNew),
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
        self.readiness.is_green();
        let result = self.work(&mut deliveries, channel, stop).await;
        self.readiness.is_red("it does not consume");
        result
    }
}

impl Consumer {
    async fn work(
        &mut self,
        deliveries: &mut lapin::Consumer,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                received = self.receive(deliveries) => received?,
            };
            if let Some(last) = received.last {
                let bookings = u32::try_from(received.batch.len()).unwrap_or(u32::MAX);
                match self.settler.settle(received.batch, stop).await {
                    Ok(tickets) => {
                        let message = SettledMessage { tickets, bookings, parcels: received.parcels };
                        self.conclude(message, &last).await?;
                    }
                    Err(Stopped) => return Ok(()),
                }
            }
            match received.next {
                Next::Receive => {}
                Next::Reconnect => bail!("the queue {} has gone", self.queue),
                Next::KeepAway(too_new) => return self.keep_away(channel, too_new, stop).await,
            }
        }
    }

    /// Waits for a delivery, then takes what else is there, up to the batch limit: small batches and low latency when it
    /// is quiet, large ones in a rush, and no lingering in between.
    async fn receive(&self, deliveries: &mut lapin::Consumer) -> anyhow::Result<Received> {
        let mut received = Received { batch: Batch::default(), parcels: 0, last: None, next: Next::Receive };
        let mut next = deliveries.next().await;
        loop {
            let Some(delivery) = next else {
                received.next = Next::Reconnect;
                break;
            };
            let delivery = delivery?;
            if let Err(too_new) = received.batch.add_parcel(&delivery.data) {
                received.next = Next::KeepAway(too_new);
                break;
            }
            received.last = Some(delivery);
            received.parcels += 1;
            if received.batch.len() >= self.config.batch_max.get() {
                break;
            }
            match deliveries.next().now_or_never() {
                Some(delivery) => next = delivery,
                None => break,
            }
        }
        Ok(received)
    }

    /// Announces what has been settled, and acknowledges it.
    async fn conclude(&self, settled: SettledMessage, last: &Delivery) -> anyhow::Result<()> {
        debug!(batch.size = settled.bookings, "settled a batch of {}", settled.bookings);
        self.announcer.announce(settled);
        // One batch at a time is in hand on this channel, and all before it have been acknowledged: `multiple` reaches
        // over just the parcels of this one.
        if !last.acker.ack(BasicAckOptions { multiple: true }).await? {
            bail!("the channel closed while a batch was in hand: its parcels will come again");
        }
        Ok(())
    }

    /// Puts back what only a newer worker can read, and leaves the queue alone from here on. Every look at it would cost
    /// what is in it one of its deliveries.
    async fn keep_away(
        &self,
        channel: &Channel,
        too_new: TooNew,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        error!("not consuming any more, until this worker is upgraded and restarted: {too_new}");
        self.readiness.is_red("it is too old for what is in the queue");
        channel.close(200, "too old".into()).await?;
        stop.cancelled().await;
        Ok(())
    }
}
