//! Consumes the intake queue: passes batches of parcels to settlement, announces their outcomes and acknowledges them.

use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join;
use hamro_shared::config::Env;
use hamro_shared::queue::{BrokerTask, QueueDeleted, SettledEvent, consume};
use lapin::options::BasicCancelOptions;
use lapin::{Channel, Connection};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::acknowledgement::{SettledDelivery, acknowledge_all, within_timeout};
use super::consumer_watchdog::{DeliveryProgress, Stall, watch};
use super::in_flight::{InFlightBatches, SettledBatch};
use super::isolated_booking::{self, RetrySchedule};
use super::outcome_publisher::OutcomePublisher;
use super::prefetch::{Prefetcher, StreamEnd, prefetch};
use super::requeue::{Message, Requeue};
use super::workload::Workload;
use crate::readiness::Readiness;
use crate::settlement::batch::{BookingCommand, UnsupportedVersion};
use crate::settlement::executor::{BatchExecutor, BatchResult};

#[derive(Clone, Copy, Debug)]
pub struct ConsumerConfig {
    /// Bookings per transaction. Batches consist of whole parcels, so they may exceed this by less than one parcel.
    pub batch_max: NonZeroUsize,
    /// Unacknowledged parcels that the broker may deliver.
    pub prefetch: NonZeroU16,
}

impl ConsumerConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let batch_max = env
            .variable("BATCH_MAX", "Maximum number of bookings per transaction.", "a number such as 500")
            .or_default("500");
        let prefetch = env
            .variable(
                "PREFETCH",
                "Maximum number of unacknowledged parcels that the broker delivers to this worker.",
                "a number such as 256",
            )
            .or_default("256");
        Some(Self { batch_max: batch_max?, prefetch: prefetch? })
    }
}

/// Consumes the intake queue.
pub struct Consumer {
    pub config: ConsumerConfig,
    /// Each can settle one batch at a time.
    pub executors: Vec<Arc<Mutex<BatchExecutor>>>,
    pub outcome_publisher: OutcomePublisher,
    pub requeue: Requeue,
    pub workload: Workload,
    pub readiness: Readiness,
    pub queue: String,
    /// Where set-aside bookings are published.
    pub dead_queue: String,
}

impl BrokerTask for Consumer {
    const ROLE: &'static str = "consuming";

    /// Consumes until `stop` is cancelled, and then finishes the batches in flight.
    async fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let result = self.consume_on(connection, channel, stop).await;
        self.workload.start_over(false);
        let result = match result {
            Ok(Some(unsupported)) => return self.stop_consuming(connection, unsupported, stop).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.readiness.set_not_ready("not consuming");
        result
    }
}

/// Why consuming ends although the channel works.
enum ConsumeEnd {
    /// The worker is to stop. The batches in flight are settled and acknowledged, up to the first that was
    /// `Interrupted`: it and all later ones are delivered again.
    Stopped,
    /// Nothing was delivered for a while, and everything received is acknowledged.
    Idle,
    /// The next parcel needs a newer worker. All earlier ones are settled and acknowledged.
    Unsupported(UnsupportedVersion),
}

impl Consumer {
    /// Consumes until `stop`, or until the next parcel needs a newer worker.
    async fn consume_on(
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
                ConsumeEnd::Stopped => return Ok(None),
                ConsumeEnd::Unsupported(unsupported) => return Ok(Some(unsupported)),
                ConsumeEnd::Idle => {
                    debug!("no delivery for a while: subscribing again on a new channel");
                    within_timeout(channel.close(200, "idle".into())).await?;
                    channel = within_timeout(connection.create_channel()).await?;
                    deliveries = self.subscribe(&channel).await?;
                }
            }
        }
    }

    async fn subscribe(&self, channel: &Channel) -> anyhow::Result<lapin::Consumer> {
        within_timeout(consume(channel, &self.queue, self.config.prefetch.get())).await
    }

    /// Settles and acknowledges the parcels that this channel delivers, until the watchdog, the prefetch task or `stop`
    /// ends it.
    async fn consume(
        &self,
        channel: &Channel,
        deliveries: lapin::Consumer,
        stop: &CancellationToken,
    ) -> anyhow::Result<ConsumeEnd> {
        let (tag, progress) = (deliveries.tag(), Arc::<DeliveryProgress>::default());
        self.workload.start_over(true);
        let (prefetcher, mut prefetch_task) =
            prefetch(deliveries, self.config.batch_max.get(), progress.clone(), self.workload.clone());
        // A batch holds at least one parcel, so there are never more batches than prefetched parcels.
        let (ack_sender, ack_receiver) = mpsc::channel(self.config.prefetch.get().into());
        let work = try_join(
            self.settle_all(prefetcher, ack_sender, stop),
            acknowledge_all(ack_receiver, &self.requeue, &progress, stop),
        );
        let stall = tokio::select! {
            result = work => return result.map(|(end, ())| end),
            stall = watch(channel, &self.queue, &progress) => stall,
            // The batches in flight are dropped with their sessions. A batch is rolled back, or committed and found
            // settled when it is redelivered.
            error = prefetch_task.failed() => return Err(error),
        };
        match stall {
            Stall::NotDelivering(error) => Err(error),
            Stall::Idle => {
                // Before the channel is closed: dropping a consumer that is not cancelled cancels it on the closed
                // channel.
                within_timeout(channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
                Ok(ConsumeEnd::Idle)
            }
        }
    }

    /// Settles batches in order. While a batch is in flight, the next one starts only if it is full. Ends when `stop`
    /// is cancelled, with the batches in flight settled, or before a parcel that needs a newer worker.
    async fn settle_all(
        &self,
        mut prefetcher: Prefetcher,
        ack_sender: mpsc::Sender<SettledDelivery>,
        stop: &CancellationToken,
    ) -> anyhow::Result<ConsumeEnd> {
        let mut in_flight = InFlightBatches::new(&self.executors);
        loop {
            let only_full = !in_flight.is_empty();
            let pending = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = in_flight.next() => {
                    let Ok(batch) = ended else { return Ok(ConsumeEnd::Stopped) };
                    self.finish(batch, &ack_sender).await?;
                    continue;
                }
                next = prefetcher.next(only_full), if in_flight.has_room() => match next {
                    Ok(pending) => pending,
                    Err(StreamEnd::QueueDeleted) => return Err(QueueDeleted(self.queue.clone()).into()),
                    Err(StreamEnd::Unsupported(unsupported)) => return Ok(ConsumeEnd::Unsupported(unsupported)),
                },
            };
            #[cfg(feature = "faults")]
            super::fault_injection::acknowledge_early(&pending.last).await?;
            in_flight.start(pending, stop);
        }
        while let Some(Ok(batch)) = in_flight.next().await {
            self.finish(batch, &ack_sender).await?;
        }
        Ok(ConsumeEnd::Stopped)
    }

    /// Announces a settled batch and queues its acknowledgement.
    async fn finish(
        &self,
        settled: SettledBatch,
        ack_sender: &mpsc::Sender<SettledDelivery>,
    ) -> anyhow::Result<()> {
        let SettledBatch { result, bookings, parcels, last } = settled;
        debug!(batch.size = bookings, "settled a batch of {bookings}");
        let BatchResult { tickets, sales, set_aside, deferred, announcement_spans } = result;
        let deferred_count = u32::try_from(deferred.len()).unwrap_or(u32::MAX);
        if deferred_count > 0 {
            debug!("{deferred_count} bookings deferred: another database session has locked their seats");
        }
        let received_parcels = parcels;
        let (bookings, parcels) = counts_to_announce(bookings, parcels, deferred_count);
        self.outcome_publisher
            .publish(SettledEvent { tickets, bookings, parcels, sales }, announcement_spans);
        self.workload.finished(received_parcels, bookings);
        let set_aside = set_aside.iter().map(|command| self.set_aside_message(command));
        let deferred = deferred.iter().map(|command| self.deferred_message(command));
        let requeued = set_aside.chain(deferred).collect();
        let not_before = Instant::now() + requeue_delay(deferred_count);
        let delivery = SettledDelivery { last, requeued, not_before };
        ack_sender.send(delivery).await.ok().context("the acknowledging task has ended")
    }

    fn set_aside_message(&self, command: &BookingCommand) -> Message {
        Message {
            queue: self.dead_queue.clone(),
            body: isolated_booking::parcel_of(&command.payload),
            headers: RetrySchedule::at_once().headers(),
            if_full: None,
        }
    }

    /// Requeues the booking: in the intake queue or, if that is full, in the dead queue of the poison isolators.
    fn deferred_message(&self, command: &BookingCommand) -> Message {
        let (body, headers) =
            (isolated_booking::parcel_of(&command.payload), RetrySchedule::default().headers());
        let queue = self.dead_queue.clone();
        let if_full = Message { queue, body: body.clone(), headers, if_full: None };
        let (queue, headers) = (self.queue.clone(), isolated_booking::single_booking_headers());
        Message { queue, body, headers, if_full: Some(Box::new(if_full)) }
    }

    /// Requeues the messages that only a newer worker can read, and stops consuming: each further delivery would count
    /// towards the delivery limit of those messages.
    async fn stop_consuming(
        &self,
        connection: &Connection,
        unsupported: UnsupportedVersion,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        error!("consuming stopped until this worker is upgraded and restarted: {unsupported}");
        self.readiness.set_not_ready("a message in bookings.intake needs a newer worker");
        connection.close(200, "unsupported version".into()).await?;
        stop.cancelled().await;
        Ok(())
    }
}

/// How many bookings and parcels have left the intake queue with a batch. A deferred booking is still in the queue, as
/// a separate message.
fn counts_to_announce(bookings: u32, parcels: u32, deferred: u32) -> (u32, u32) {
    let bookings = bookings.saturating_sub(deferred);
    let parcels = if bookings == 0 { 0 } else { parcels.saturating_sub(deferred).max(1) };
    (bookings, parcels)
}

/// How long to wait before republishing deferred bookings: each costs a message and a confirm.
fn requeue_delay(deferred: u32) -> Duration {
    match deferred {
        0 => Duration::ZERO,
        count => Duration::from_millis(u64::from(count.saturating_add(250).min(1_000))),
    }
}
