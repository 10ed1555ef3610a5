//! Settles what the intake queue has given up on: parcels that came back too often, as workers died with them in hand.
//!
//! One booking of such a parcel may be a culprit, which kills whoever tries it; the others were only near it, and so were
//! other parcels that those workers had been sent. So each parcel is first split: its bookings go back into the queue of the
//! dead as messages of their own (*alone*), and then are tried one at a time. Of a message that is alone the broker
//! counts how often it came back (`x-delivery-count`), and that count survives whatever the booking does to this process.
//! One that came back three times is not tried again: it fails, and is kept as a dead letter.
//!
//! A crash at any step leaves a message too many, and never one too few: bookings are posted, and the broker's word
//! awaited, before the parcel is acknowledged; they are settled before they are. What comes twice is settled once.
//!
//! A booking must not be blamed for what kills the process besides it. So nothing but the one message is in hand; none is
//! taken while the database is away; and the process must have lived for a while (`REAPER_DELAY`), since a culprit that is
//! still in the intake queue kills a worker soon after it has started.
//!
//! A booking that was set aside unsettled, because it alone failed for no fault of its own, is in this queue too. It is tried
//! again with pauses that grow, until its deadline. It waits at the end of the queue, as a new message each time, so that it
//! costs none of the broker's tries and holds up nothing behind it.
//!
//! Any number of workers may do this at once: a message is in one hand at a time.

mod rotation;
mod step;

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use hamro_shared::config::Env;
use hamro_shared::database::{DatabaseClock, Sessions, wait_until_usable};
use hamro_shared::domain::{Clock, SettledTicket, Timestamp};
use hamro_shared::queue::{Broker, QueueDeleted, Session, SettledEvent, publish_confirmed, supervise};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::pipeline::isolated_booking::{Retry, header, is_alone, parcel_of};
use crate::pipeline::outcome_publisher::OutcomePublisher;
use crate::pipeline::requeue::{Message, publish};
use crate::readiness::Readiness;
use crate::settlement::batch::{Batch, DeadLetterReason, UnsupportedVersion};
use crate::settlement::failure_limit::FailureLimit;
use crate::settlement::lock_order::LockTurn;
use crate::settlement::retry::{BatchExecutor, BatchResult, Interrupted};
use crate::settlement::stuck_seats::StuckSeats;
use rotation::Rotation;
use step::{Step, next_step};

#[derive(Clone, Copy, Debug)]
pub struct PoisonConfig {
    /// How long a worker must have lived before it touches what other workers died of.
    pub delay: Duration,
}

impl PoisonConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let delay = env.or("REAPER_DELAY", Duration::from_secs(10), "a duration such as 10s");
        Some(Self { delay: delay? })
    }
}

pub struct PoisonIsolator {
    executor: BatchExecutor,
    outcome_publisher: OutcomePublisher,
    readiness: Readiness,
    sessions: Sessions,
    database_clock: DatabaseClock,
    queue: String,
    clock: Clock,
}

impl PoisonIsolator {
    pub fn new(
        sessions: &Sessions,
        database_clock: &DatabaseClock,
        broker: &Broker,
        outcome_publisher: OutcomePublisher,
        readiness: Readiness,
    ) -> Self {
        let clock = database_clock.clock();
        let executor = BatchExecutor::new(sessions.clone(), clock.clone(), readiness.clone());
        let queue = broker.topology().dead();
        Self {
            executor,
            outcome_publisher,
            readiness,
            sessions: sessions.clone(),
            database_clock: database_clock.clone(),
            queue,
            clock,
        }
    }

    /// Shares the brake, and what is known of stuck seats, with the other settlers of the process.
    #[must_use]
    pub fn sharing(mut self, failure_limit: FailureLimit, stuck_seats: StuckSeats) -> Self {
        self.executor = self.executor.with_failure_limit(failure_limit).with_stuck_seats(stuck_seats);
        self
    }

    /// Settles poison messages until `stop`, once this process has run for `delay`.
    pub async fn run(mut self, broker: &Broker, delay: Duration, stop: CancellationToken) {
        if timeout(delay, stop.cancelled()).await.is_err() {
            supervise(broker, &stop, &mut self).await;
        }
    }
}

struct Settled {
    result: Result<BatchResult, Interrupted>,
    queue_has_gone: bool,
}

impl Session for PoisonIsolator {
    const ROLE: &'static str = "reaping";

    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        // What is in hand while the database is away only collects returns.
        if stop.run_until_cancelled(wait_until_usable(&self.sessions, &self.database_clock)).await.is_none() {
            return Ok(());
        }
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let queue = self.queue.as_str();
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let mut deliveries = channel.basic_consume(queue.into(), "".into(), options, arguments).await?;
        info!("reaping {queue}");
        self.readiness.set_ready();
        let result = self.work(&mut deliveries, channel, stop).await;
        self.readiness.set_not_ready("it does not consume");
        result
    }
}

impl PoisonIsolator {
    async fn work(
        &mut self,
        deliveries: &mut lapin::Consumer,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut rotation = Rotation::default();
        loop {
            let delivery = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                delivery = deliveries.next() => delivery.ok_or_else(|| QueueDeleted(self.queue.clone()))??,
            };
            let (retry, now) = (Retry::of(&delivery), self.clock.now());
            if retry.set_aside > 0 {
                self.readiness.note("a booking is set aside unsettled; see the log");
            }
            if let Some(at) = retry.at.filter(|at| *at > now) {
                let message = self.message(delivery.data.clone(), retry.headers());
                match stop.run_until_cancelled(publish(channel, &message)).await {
                    Some(published) => published.context("putting a booking back")?,
                    None => return Ok(()),
                }
                // Before the acknowledgement, so that the broker does not hand us the next one meanwhile.
                let pause = rotation.put_back(&delivery.data, at, now);
                let _ = timeout(pause, stop.cancelled()).await;
                acknowledge(&delivery).await?;
                continue;
            }
            rotation = Rotation::default();
            match next_step(&delivery.data, is_alone(&delivery), delivery_count(&delivery), retry.set_aside) {
                Step::Split(bookings) => {
                    // While the broker blocks publishers this waits for it.
                    match stop.run_until_cancelled(self.split(channel, &bookings)).await {
                        Some(split) => split?,
                        None => return Ok(()),
                    }
                }
                Step::Settle(batch) => {
                    let settled = self.settle(deliveries, end(batch, retry, now), stop).await?;
                    let Ok(result) = settled.result else { return Ok(()) };
                    match stop.run_until_cancelled(self.put_back(channel, &result)).await {
                        Some(put_back) => put_back?,
                        None => return Ok(()),
                    }
                    self.publish(result.tickets);
                    if settled.queue_has_gone {
                        acknowledge(&delivery).await?;
                        return Err(QueueDeleted(self.queue.clone()).into());
                    }
                }
                Step::Requeue(unsupported) => {
                    // First of all, so that it does not come to us again.
                    channel.basic_cancel(deliveries.tag(), BasicCancelOptions::default()).await?;
                    return self.stop_consuming(channel, &delivery, unsupported, stop).await;
                }
            }
            acknowledge(&delivery).await?;
        }
    }

    /// Settles the batch, and fails as soon as the channel does: the message comes again, perhaps to another worker. If the
    /// queue has gone, the booking comes from nowhere else, so it is settled first.
    async fn settle(
        &mut self,
        deliveries: &mut lapin::Consumer,
        batch: Batch,
        stop: &CancellationToken,
    ) -> anyhow::Result<Settled> {
        let mut settling = pin!(self.executor.settle(batch, LockTurn::default(), stop));
        let mut queue_has_gone = false;
        loop {
            tokio::select! {
                result = &mut settling => return Ok(Settled { result, queue_has_gone }),
                // As one message is in hand, the broker sends no other.
                next = deliveries.next(), if !queue_has_gone => match next {
                    Some(Err(error)) => return Err(error).context("the channel failed with a booking in hand"),
                    Some(Ok(_)) => bail!("the broker sent more than was asked for"),
                    None => queue_has_gone = true,
                },
            }
        }
    }

    /// Puts what could not be settled at the end of the queue, for another try later.
    async fn put_back(&self, channel: &Channel, result: &BatchResult) -> anyhow::Result<()> {
        for command in &result.set_aside {
            let headers = Retry::of_order(command, self.clock.now()).headers();
            let message = self.message(parcel_of(&command.payload), headers);
            publish(channel, &message).await.context("setting a booking aside")?;
        }
        for command in &result.deferred {
            let headers = Retry::of_deferred(command, self.clock.now()).headers();
            let message = self.message(parcel_of(&command.payload), headers);
            publish(channel, &message).await.context("deferring a booking")?;
        }
        Ok(())
    }

    fn message(&self, body: Vec<u8>, headers: FieldTable) -> Message {
        Message { queue: self.queue.clone(), body, headers, if_full: None }
    }

    /// Posts each of the bookings alone.
    async fn split(&self, channel: &Channel, bookings: &[&RawValue]) -> anyhow::Result<()> {
        let count = bookings.len();
        warn!("a parcel of {count} came back too often: trying its bookings one by one");
        for booking in bookings {
            let headers = Retry::default().headers();
            publish_confirmed(channel, &self.queue, &parcel_of(booking.get()), headers)
                .await
                .context("splitting a parcel")?;
        }
        Ok(())
    }

    fn publish(&self, tickets: Vec<SettledTicket>) {
        if !tickets.is_empty() {
            // What the intake queue holds, and how fast it moves, cannot be told from these: they were not in it.
            self.outcome_publisher.publish(SettledEvent { tickets, bookings: 0, parcels: 0 });
        }
    }

    /// Puts back what only a newer worker can read, as a new message, so that it costs none of its tries; and leaves the
    /// queue alone from here on.
    async fn stop_consuming(
        &self,
        channel: &Channel,
        delivery: &Delivery,
        unsupported: UnsupportedVersion,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        error!("not reaping any more, until this worker is upgraded and restarted: {unsupported}");
        self.readiness.set_not_ready("it is too old for what is in the queue of the dead");
        let headers = Retry::of(delivery).headers();
        publish_confirmed(channel, &self.queue, &delivery.data, headers)
            .await
            .context("putting a booking back")?;
        acknowledge(delivery).await?;
        stop.cancelled().await;
        Ok(())
    }
}

async fn acknowledge(delivery: &Delivery) -> anyhow::Result<()> {
    if !delivery.acker.ack(BasicAckOptions::default()).await? {
        bail!("the channel closed with a message in hand: it will come again");
    }
    Ok(())
}

/// A booking that was set aside and is past its deadline is not tried again: it ends as expired, by an insert that names
/// nothing but its ticket.
fn end(batch: Batch, retry: Retry, now: Timestamp) -> Batch {
    if retry.set_aside == 0 || !batch.is_past_deadline(now) {
        return batch;
    }
    let detail = format!("it was set aside {} times; the errors are in the workers' logs", retry.set_aside);
    batch.into_dead_letters(DeadLetterReason::SetAside, &detail)
}

/// How often this message has come back: a quorum queue counts it whenever the one who had it in hand dies, or loses its
/// connection.
fn delivery_count(delivery: &Delivery) -> u64 {
    match header(delivery, "x-delivery-count") {
        Some(AMQPValue::LongLongInt(count)) => count.unsigned_abs(),
        Some(AMQPValue::LongInt(count)) => count.unsigned_abs().into(),
        Some(AMQPValue::LongUInt(count)) => (*count).into(),
        _ => 0,
    }
}
