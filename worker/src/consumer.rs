//! Takes parcels from the queue, has them settled, and acknowledges them.

use std::mem::take;
use std::pin::pin;

use anyhow::bail;
use futures_util::{FutureExt, StreamExt};
use hamro_shared::faults::{self, Rule};
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
use crate::settler::Settler;

/// Receives, settles, acknowledges, announces.
pub struct Consumer {
    pub config: ConsumerConfig,
    pub settler: Settler,
    pub announcer: Announcer,
    pub readiness: Readiness,
    pub queue: String,
}

/// What has been taken from the queue together.
#[derive(Default)]
struct Received {
    batch: Batch,
    parcels: u32,
    /// The last delivery of the batch; `None` if there was none.
    last: Option<Delivery>,
    /// Why nothing comes behind it.
    end: Option<End>,
}

/// Why nothing more can be received.
enum End {
    /// The channel has failed.
    Failed(lapin::Error),
    /// The broker has ended the delivery: the queue has gone, or was made anew.
    QueueGone,
    /// The delivery after the last can only be read by a newer worker.
    TooNew(TooNew),
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
    /// Settles one batch after the other. While one is in hand the next is received and decoded, and grows until the worker
    /// is free for it: small batches and low latency when it is quiet, large ones in a rush, and no lingering in between.
    async fn work(
        &mut self,
        deliveries: &mut lapin::Consumer,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let limit = self.config.batch_max.get();
        let mut waiting = Received::default();
        loop {
            let Some(delivery) = stop.run_until_cancelled(deliveries.next()).await else { return Ok(()) };
            waiting.add(delivery);
            waiting.add_what_is_there(deliveries, limit);
            while let Some((batch, parcels, last)) = waiting.begin() {
                if faults::is_broken(Rule::CommitThenAck) {
                    acknowledge(&last).await?;
                }
                let bookings = u32::try_from(batch.len()).unwrap_or(u32::MAX);
                let settling = self.settler.settle(batch, stop);
                let Ok(tickets) = waiting.add_during(settling, deliveries, limit).await else {
                    return Ok(());
                };
                self.conclude(SettledMessage { tickets, bookings, parcels }, &last).await?;
                if stop.is_cancelled() {
                    return Ok(());
                }
            }
            match waiting.end.take() {
                None => {}
                Some(End::Failed(error)) => return Err(error.into()),
                Some(End::QueueGone) => bail!("the queue {} has gone", self.queue),
                Some(End::TooNew(too_new)) => return self.keep_away(channel, too_new, stop).await,
            }
        }
    }

    /// Announces what has been settled, and acknowledges it.
    async fn conclude(&self, settled: SettledMessage, last: &Delivery) -> anyhow::Result<()> {
        debug!(batch.size = settled.bookings, "settled a batch of {}", settled.bookings);
        self.announcer.announce(settled);
        if faults::is_broken(Rule::CommitThenAck) { Ok(()) } else { acknowledge(last).await }
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

impl Received {
    /// Adds what the stream of deliveries has yielded.
    fn add(&mut self, delivery: Option<Result<Delivery, lapin::Error>>) {
        match delivery {
            None => self.end = Some(End::QueueGone),
            Some(Err(error)) => self.end = Some(End::Failed(error)),
            Some(Ok(delivery)) => match self.batch.add_parcel(&delivery.data) {
                Err(too_new) => self.end = Some(End::TooNew(too_new)),
                Ok(()) => {
                    self.parcels += 1;
                    self.last = Some(delivery);
                }
            },
        }
    }

    /// Adds what has been delivered already, and waits for nothing.
    fn add_what_is_there(&mut self, deliveries: &mut lapin::Consumer, limit: usize) {
        while self.has_room(limit)
            && let Some(delivery) = deliveries.next().now_or_never()
        {
            self.add(delivery);
        }
    }

    /// Adds what is delivered until `work` is done.
    async fn add_during<T>(
        &mut self,
        work: impl Future<Output = T>,
        deliveries: &mut lapin::Consumer,
        limit: usize,
    ) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                delivery = deliveries.next(), if self.has_room(limit) => self.add(delivery),
            }
        }
    }

    fn has_room(&self, limit: usize) -> bool {
        self.end.is_none() && self.batch.len() < limit
    }

    /// Hands over the batch, how many parcels it came in, and the last of them. Nothing, if there is none.
    fn begin(&mut self) -> Option<(Batch, u32, Delivery)> {
        let last = self.last.take()?;
        Some((take(&mut self.batch), take(&mut self.parcels), last))
    }
}

/// One batch at a time is in hand on the channel, and all before it have been acknowledged: `multiple` reaches over just
/// the parcels of this one, up to its last.
async fn acknowledge(last: &Delivery) -> anyhow::Result<()> {
    if !last.acker.ack(BasicAckOptions { multiple: true }).await? {
        bail!("the channel closed while a batch was in hand: its parcels will come again");
    }
    Ok(())
}
