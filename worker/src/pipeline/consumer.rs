//! Takes parcels from the queue, has them settled, and acknowledges them.

use std::future::pending;
use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::try_join;
use hamro_shared::config::Env;
use hamro_shared::faults::{self, Point, Rule};
use hamro_shared::queue::{QueueDeleted, Session, SettledEvent};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::pipeline::consumer_watchdog::{DeliveryProgress, Stall, watch};
use crate::pipeline::in_flight::{InFlightBatches, SettledBatch};
use crate::pipeline::isolated_booking::{self, Retry};
use crate::pipeline::outcome_publisher::OutcomePublisher;
use crate::pipeline::prefetch::{Prefetcher, StreamEnd};
use crate::pipeline::requeue::{Message, Requeue};
use crate::readiness::Readiness;
use crate::settlement::batch::{BookingCommand, UnsupportedVersion};
use crate::settlement::retry::{BatchExecutor, BatchResult};

/// How long the broker may take for what it does at once while all is well. A channel on which it takes longer is a wreck, and
/// only a new connection helps. What was not acknowledged comes again, and is found settled.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub struct ConsumerConfig {
    /// Bookings a transaction; whole parcels, so it may be exceeded by less than one.
    pub batch_max: NonZeroUsize,
    /// Parcels that the broker sends ahead.
    pub prefetch: NonZeroU16,
}

impl ConsumerConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        const BATCH_MAX: NonZeroUsize = NonZeroUsize::new(500).expect("is not zero");
        const PREFETCH: NonZeroU16 = NonZeroU16::new(256).expect("is not zero");
        let batch_max =
            env.or("BATCH_MAX", BATCH_MAX, "the most bookings to settle in one transaction, such as 500");
        let prefetch =
            env.or("PREFETCH", PREFETCH, "the most parcels that the broker sends ahead, such as 256");
        Some(Self { batch_max: batch_max?, prefetch: prefetch? })
    }
}

/// Receives, settles, acknowledges, announces.
pub struct Consumer {
    pub config: ConsumerConfig,
    /// A batch for each of them can be in hand at a time.
    pub executors: Vec<Arc<Mutex<BatchExecutor>>>,
    pub outcome_publisher: OutcomePublisher,
    pub requeue: Requeue,
    pub readiness: Readiness,
    pub queue: String,
    /// Where bookings go that were set aside.
    pub dead_queue: String,
}

/// A batch that is settled, but for some bookings that are to be published again before it is acknowledged.
struct SettledDelivery {
    last: Delivery,
    requeued: Vec<Message>,
    /// Not before this moment, unless the worker is to stop: deferred bookings would come again as fast as they go.
    not_before: Instant,
}

impl Session for Consumer {
    const ROLE: &'static str = "consuming";

    /// Works until `stop` is cancelled, and then finishes what is in hand.
    async fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let ended = match self.work(connection, channel, stop).await {
            Ok(Some(unsupported)) => return self.stop_consuming(connection, unsupported, stop).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.readiness.set_not_ready("it does not consume");
        ended
    }
}

/// Why no more is taken on a channel. All that was in hand has been settled and acknowledged.
enum ConsumeEnd {
    Interrupted,
    Idle,
    UnsupportedVersion(UnsupportedVersion),
}

impl Consumer {
    /// Consumes until `stop`, or until there is something that only a newer worker can read.
    async fn work(
        &self,
        connection: &Connection,
        first: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<UnsupportedVersion>> {
        let mut channel = first.clone();
        let mut deliveries = self.subscribe(&channel).await?;
        info!("consuming from {}", self.queue);
        self.readiness.set_ready();
        loop {
            match self.consume(&channel, deliveries, stop).await? {
                ConsumeEnd::Interrupted => return Ok(None),
                ConsumeEnd::UnsupportedVersion(unsupported) => return Ok(Some(unsupported)),
                ConsumeEnd::Idle => {
                    debug!("nothing has come for a while: consuming anew");
                    within_timeout(channel.close(200, "idle".into())).await?;
                    channel = within_timeout(connection.create_channel()).await?;
                    deliveries = self.subscribe(&channel).await?;
                }
            }
        }
    }

    async fn subscribe(&self, channel: &Channel) -> anyhow::Result<lapin::Consumer> {
        within_timeout(channel.basic_qos(self.config.prefetch.get(), BasicQosOptions::default())).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        within_timeout(channel.basic_consume(self.queue.as_str().into(), "".into(), options, arguments)).await
    }

    async fn consume(
        &self,
        channel: &Channel,
        deliveries: lapin::Consumer,
        stop: &CancellationToken,
    ) -> anyhow::Result<ConsumeEnd> {
        let (tag, progress) = (deliveries.tag(), Arc::<DeliveryProgress>::default());
        let prefetcher = Prefetcher::start(deliveries, self.config.batch_max.get(), progress.clone());
        // Each batch has at least one parcel, so there are never more of them than parcels that the broker sends ahead.
        let (settled, to_acknowledge) = mpsc::channel(self.config.prefetch.get().into());
        let work = try_join(
            self.settle_all(&prefetcher, settled, stop),
            self.acknowledge_all(to_acknowledge, &progress, stop),
        );
        let watch = tokio::select! {
            worked = work => return worked.map(|(ended, ())| ended),
            watch = watch(channel, &self.queue, &progress) => watch,
            // The batches in hand are dropped with their sessions: nothing of them is committed, or it is found settled.
            error = prefetcher.failed() => return Err(error.context("the channel failed")),
        };
        match watch {
            Stall::NotDelivering(error) => Err(error),
            Stall::Idle => {
                // Before the channel is closed: a consumer that is dropped cancels itself on it, unless it has been.
                within_timeout(channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
                Ok(ConsumeEnd::Idle)
            }
        }
    }

    /// Settles one batch after the other, each of all that has been received by then. A full one does not wait for the one
    /// before to end. Ends well when `stop` asks for it, with what is in hand settled, or before a parcel that can only be
    /// read by a newer worker.
    async fn settle_all(
        &self,
        prefetcher: &Prefetcher,
        settled: mpsc::Sender<SettledDelivery>,
        stop: &CancellationToken,
    ) -> anyhow::Result<ConsumeEnd> {
        let mut in_flight = InFlightBatches::new(&self.executors);
        loop {
            let pending = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = in_flight.next() => {
                    let Ok(batch) = ended else { return Ok(ConsumeEnd::Interrupted) };
                    self.finish(batch, &settled).await?;
                    continue;
                }
                next = prefetcher.next(), if in_flight.is_idle() => match next {
                    Ok(pending) => pending,
                    Err(StreamEnd::Failed(error)) => return Err(error.into()),
                    Err(StreamEnd::Panicked) => bail!("the task that receives has panicked"),
                    Err(StreamEnd::QueueDeleted) => return Err(QueueDeleted(self.queue.clone()).into()),
                    Err(StreamEnd::UnsupportedVersion(unsupported)) => return Ok(ConsumeEnd::UnsupportedVersion(unsupported)),
                },
                full = prefetcher.next_full(), if !in_flight.is_idle() && in_flight.has_room() => full,
            };
            if faults::is_broken(Rule::CommitThenAck) {
                acknowledge(&pending.last).await?;
            }
            in_flight.start(pending, stop);
        }
        while let Some(Ok(batch)) = in_flight.next().await {
            self.finish(batch, &settled).await?;
        }
        Ok(ConsumeEnd::Interrupted)
    }

    /// Announces a batch that has been settled, and hands it on to be acknowledged.
    async fn finish(
        &self,
        settled: SettledBatch,
        to_acknowledge: &mpsc::Sender<SettledDelivery>,
    ) -> anyhow::Result<()> {
        let SettledBatch { result, bookings, parcels, last } = settled;
        debug!(batch.size = bookings, "settled a batch of {bookings}");
        let BatchResult { tickets, set_aside, deferred } = result;
        let count = u32::try_from(deferred.len()).unwrap_or(u32::MAX);
        if count > 0 {
            debug!("{count} bookings are deferred: another session holds a seat that they want");
        }
        // A deferred booking is a message in the intake queue again.
        let bookings = bookings.saturating_sub(count);
        let parcels = if bookings == 0 { 0 } else { parcels.saturating_sub(count).max(1) };
        self.outcome_publisher.publish(SettledEvent { tickets, bookings, parcels });
        let set_aside = set_aside.iter().map(|command| self.set_aside(command));
        let requeued = set_aside.chain(deferred.iter().map(|command| self.deferred(command))).collect();
        let not_before = Instant::now() + deferral(count);
        if !faults::is_broken(Rule::CommitThenAck) {
            let settled = SettledDelivery { last, requeued, not_before };
            to_acknowledge.send(settled).await.ok().context("nobody acknowledges any more")?;
        }
        Ok(())
    }

    fn set_aside(&self, command: &BookingCommand) -> Message {
        Message {
            queue: self.dead_queue.clone(),
            body: isolated_booking::parcel_of(&command.payload),
            headers: Retry::at_once().headers(),
            if_full: None,
        }
    }

    /// Back into the intake queue; or to the reapers, if that is full.
    fn deferred(&self, command: &BookingCommand) -> Message {
        let (body, headers) = (isolated_booking::parcel_of(&command.payload), Retry::default().headers());
        let queue = self.dead_queue.clone();
        let if_full = Message { queue, body: body.clone(), headers, if_full: None };
        let (queue, headers) = (self.queue.clone(), isolated_booking::one_booking());
        Message { queue, body, headers, if_full: Some(Box::new(if_full)) }
    }

    /// Acknowledges one batch after the other, of each the last parcel, while the next batch is being settled already. All
    /// parcels before it have been settled, so `multiple` reaches over none that has not. Bookings of the batch that are to be
    /// published again are confirmed before.
    async fn acknowledge_all(
        &self,
        mut settled: mpsc::Receiver<SettledDelivery>,
        progress: &DeliveryProgress,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        while let Some(SettledDelivery { last, requeued, not_before }) = settled.recv().await {
            // Only the acknowledgement waits. The batches behind are being settled.
            let _ = timeout_at(not_before, stop.cancelled()).await;
            for message in requeued {
                tokio::select! {
                    published = self.requeue.publish(message) => {
                        published?;
                        faults::pass(Point::AfterRequeue);
                    }
                    () = stopped_for(BROKER_TIMEOUT, stop) => {
                        bail!("a booking could not be published again before the shutdown: its batch will come again")
                    }
                }
            }
            acknowledge(&last).await?;
            progress.acknowledged(last.delivery_tag);
        }
        Ok(())
    }

    /// Puts back what only a newer worker can read, and leaves the queue alone from here on. Every look at it would cost
    /// what is in it one of its deliveries.
    async fn stop_consuming(
        &self,
        connection: &Connection,
        unsupported: UnsupportedVersion,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        error!("not consuming any more, until this worker is upgraded and restarted: {unsupported}");
        self.readiness.set_not_ready("it is too old for what is in the queue");
        connection.close(200, "too old".into()).await?;
        stop.cancelled().await;
        Ok(())
    }
}

async fn acknowledge(last: &Delivery) -> anyhow::Result<()> {
    if !within_timeout(last.acker.ack(BasicAckOptions { multiple: true })).await? {
        bail!("the channel closed while a batch was in hand: its parcels will come again");
    }
    Ok(())
}

async fn within_timeout<T>(operation: impl Future<Output = lapin::Result<T>>) -> anyhow::Result<T> {
    Ok(timeout(BROKER_TIMEOUT, operation).await.context("the broker does not answer")??)
}

/// How long to keep so many deferred bookings until they go back into the queue.
fn deferral(count: u32) -> Duration {
    match count {
        0 => Duration::ZERO,
        // Each costs a message and its confirm.
        count => Duration::from_millis(u64::from(count.saturating_add(250).min(1_000))),
    }
}

/// Returns `patience` after `stop` was cancelled.
async fn stopped_for(patience: Duration, stop: &CancellationToken) {
    stop.cancelled().await;
    let _ = timeout(patience, pending::<()>()).await;
}
