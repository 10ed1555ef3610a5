//! Takes parcels from the queue, has them settled, and acknowledges them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::try_join;
use hamro_shared::faults::{self, Point, Rule};
use hamro_shared::queue::{QueueGone, Session, SettledMessage};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::alone::{self, Retry};
use crate::announcer::Announcer;
use crate::batch::{Order, TooNew};
use crate::config::ConsumerConfig;
use crate::forgotten::{Doubt, Progress, doubt};
use crate::readiness::Readiness;
use crate::receiving::{End, Receiving};
use crate::requeue::{Message, Requeue};
use crate::settler::{BatchResult, Settler};
use crate::settling::{Settled, Settling};

/// How long the broker may take for what it does at once while all is well. A channel on which it takes longer is a wreck, and
/// only a new connection helps. What was not acknowledged comes again, and is found settled.
const PATIENCE: Duration = Duration::from_secs(10);

/// Receives, settles, acknowledges, announces.
pub struct Consumer {
    pub config: ConsumerConfig,
    /// A batch for each of them can be in hand at a time.
    pub settlers: Vec<Arc<Mutex<Settler>>>,
    pub announcer: Announcer,
    pub requeue: Requeue,
    pub readiness: Readiness,
    pub queue: String,
    /// Where bookings go that were set aside.
    pub dead_queue: String,
}

/// A batch that is settled, but for some bookings that are to be published again before it is acknowledged.
struct Unacknowledged {
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
            Ok(Some(too_new)) => return self.keep_away(connection, too_new, stop).await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.readiness.is_red("it does not consume");
        ended
    }
}

/// Why no more is taken on a channel. All that was in hand has been settled and acknowledged.
enum Ended {
    Stopped,
    Idle,
    TooNew(TooNew),
}

impl Consumer {
    /// Consumes until `stop`, or until there is something that only a newer worker can read.
    async fn work(
        &self,
        connection: &Connection,
        first: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<TooNew>> {
        let mut channel = first.clone();
        let mut deliveries = self.subscribe(&channel).await?;
        info!("consuming from {}", self.queue);
        self.readiness.is_green();
        loop {
            match self.consume(&channel, deliveries, stop).await? {
                Ended::Stopped => return Ok(None),
                Ended::TooNew(too_new) => return Ok(Some(too_new)),
                Ended::Idle => {
                    debug!("nothing has come for a while: consuming anew");
                    in_time(channel.close(200, "idle".into())).await?;
                    channel = in_time(connection.create_channel()).await?;
                    deliveries = self.subscribe(&channel).await?;
                }
            }
        }
    }

    async fn subscribe(&self, channel: &Channel) -> anyhow::Result<lapin::Consumer> {
        in_time(channel.basic_qos(self.config.prefetch.get(), BasicQosOptions::default())).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        in_time(channel.basic_consume(self.queue.as_str().into(), "".into(), options, arguments)).await
    }

    async fn consume(
        &self,
        channel: &Channel,
        deliveries: lapin::Consumer,
        stop: &CancellationToken,
    ) -> anyhow::Result<Ended> {
        let (tag, progress) = (deliveries.tag(), Arc::<Progress>::default());
        let receiving = Receiving::start(deliveries, self.config.batch_max.get(), progress.clone());
        // Each batch has at least one parcel, so there are never more of them than parcels that the broker sends ahead.
        let (settled, to_acknowledge) = mpsc::channel(self.config.prefetch.get().into());
        let working = try_join(
            self.settle_all(&receiving, settled, stop),
            self.acknowledge_all(to_acknowledge, &progress, stop),
        );
        let doubt = tokio::select! {
            worked = working => return worked.map(|(ended, ())| ended),
            doubt = doubt(channel, &self.queue, &progress) => doubt,
            // The batches in hand are dropped with their sessions: nothing of them is committed, or it is found settled.
            error = receiving.failed() => return Err(error.context("the channel failed")),
        };
        match doubt {
            Doubt::Forgotten(error) => Err(error),
            Doubt::Idle => {
                // Before the channel is closed: a consumer that is dropped cancels itself on it, unless it has been.
                in_time(channel.basic_cancel(tag, BasicCancelOptions::default())).await?;
                Ok(Ended::Idle)
            }
        }
    }

    /// Settles one batch after the other, each of all that has been received by then. A full one does not wait for the one
    /// before to end. Ends well when `stop` asks for it, with what is in hand settled, or before a parcel that can only be
    /// read by a newer worker.
    async fn settle_all(
        &self,
        receiving: &Receiving,
        settled: mpsc::Sender<Unacknowledged>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Ended> {
        let mut settling = Settling::new(&self.settlers);
        loop {
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = settling.next() => {
                    let Ok(batch) = ended else { return Ok(Ended::Stopped) };
                    self.conclude(batch, &settled).await?;
                    continue;
                }
                next = receiving.next(), if settling.is_idle() => match next {
                    Ok(received) => received,
                    Err(End::Failed(error)) => return Err(error.into()),
                    Err(End::Panicked) => bail!("the task that receives has panicked"),
                    Err(End::QueueGone) => return Err(QueueGone(self.queue.clone()).into()),
                    Err(End::TooNew(too_new)) => return Ok(Ended::TooNew(too_new)),
                },
                full = receiving.next_full(), if !settling.is_idle() && settling.has_room() => full,
            };
            if faults::is_broken(Rule::CommitThenAck) {
                acknowledge(&received.last).await?;
            }
            settling.take(received, stop);
        }
        while let Some(Ok(batch)) = settling.next().await {
            self.conclude(batch, &settled).await?;
        }
        Ok(Ended::Stopped)
    }

    /// Announces a batch that has been settled, and hands it on to be acknowledged.
    async fn conclude(
        &self,
        settled: Settled,
        to_acknowledge: &mpsc::Sender<Unacknowledged>,
    ) -> anyhow::Result<()> {
        let Settled { result, bookings, parcels, last } = settled;
        debug!(batch.size = bookings, "settled a batch of {bookings}");
        let BatchResult { tickets, set_aside, deferred } = result;
        let count = u32::try_from(deferred.len()).unwrap_or(u32::MAX);
        if count > 0 {
            debug!("{count} bookings are deferred: another session holds a seat that they want");
        }
        // A deferred booking is a message in the intake queue again.
        let bookings = bookings.saturating_sub(count);
        let parcels = if bookings == 0 { 0 } else { parcels.saturating_sub(count).max(1) };
        self.announcer.announce(SettledMessage { tickets, bookings, parcels });
        let set_aside = set_aside.iter().map(|order| self.set_aside(order));
        let requeued = set_aside.chain(deferred.iter().map(|order| self.deferred(order))).collect();
        let not_before = Instant::now() + deferral(count);
        if !faults::is_broken(Rule::CommitThenAck) {
            let settled = Unacknowledged { last, requeued, not_before };
            to_acknowledge.send(settled).await.ok().context("nobody acknowledges any more")?;
        }
        Ok(())
    }

    fn set_aside(&self, order: &Order) -> Message {
        Message {
            queue: self.dead_queue.clone(),
            body: alone::parcel_of(&order.payload),
            headers: Retry::at_once().headers(),
            if_full: None,
        }
    }

    /// Back into the intake queue; or to the reapers, if that is full.
    fn deferred(&self, order: &Order) -> Message {
        let (body, headers) = (alone::parcel_of(&order.payload), Retry::default().headers());
        let queue = self.dead_queue.clone();
        let if_full = Message { queue, body: body.clone(), headers, if_full: None };
        let (queue, headers) = (self.queue.clone(), alone::one_booking());
        Message { queue, body, headers, if_full: Some(Box::new(if_full)) }
    }

    /// Acknowledges one batch after the other, of each the last parcel, while the next batch is being settled already. All
    /// parcels before it have been settled, so `multiple` reaches over none that has not. Bookings of the batch that are to be
    /// published again are confirmed before.
    async fn acknowledge_all(
        &self,
        mut settled: mpsc::Receiver<Unacknowledged>,
        progress: &Progress,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        while let Some(Unacknowledged { last, requeued, not_before }) = settled.recv().await {
            // Only the acknowledgement waits. The batches behind are being settled.
            let _ = timeout_at(not_before, stop.cancelled()).await;
            for message in requeued {
                tokio::select! {
                    published = self.requeue.publish(message) => {
                        published?;
                        faults::pass(Point::AfterRequeue);
                    }
                    () = has_stopped_for(PATIENCE, stop) => {
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
    async fn keep_away(
        &self,
        connection: &Connection,
        too_new: TooNew,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        error!("not consuming any more, until this worker is upgraded and restarted: {too_new}");
        self.readiness.is_red("it is too old for what is in the queue");
        connection.close(200, "too old".into()).await?;
        stop.cancelled().await;
        Ok(())
    }
}

async fn acknowledge(last: &Delivery) -> anyhow::Result<()> {
    if !in_time(last.acker.ack(BasicAckOptions { multiple: true })).await? {
        bail!("the channel closed while a batch was in hand: its parcels will come again");
    }
    Ok(())
}

async fn in_time<T>(asking: impl Future<Output = lapin::Result<T>>) -> anyhow::Result<T> {
    Ok(timeout(PATIENCE, asking).await.context("the broker does not answer")??)
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
async fn has_stopped_for(patience: Duration, stop: &CancellationToken) {
    stop.cancelled().await;
    let _ = timeout(patience, pending::<()>()).await;
}
