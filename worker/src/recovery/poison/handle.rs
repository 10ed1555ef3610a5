//! Handles one message of the dead queue.

use std::pin::pin;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use hamro_shared::domain::Timestamp;
use hamro_shared::queue::{ConfirmingChannel, SettledEvent};
use hamro_shared::telemetry::traces::trace_id;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::value::RawValue;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::rotation::Rotation;
use super::step::{Step, next_step};
use super::{Channels, PoisonIsolator};
use crate::pipeline::isolated_booking::{RetrySchedule, header, is_isolated, parcel_of};
use crate::pipeline::requeue::{Message, publish};
use crate::settlement::batch::{Batch, DeadLetterReason, UnsupportedVersion};
use crate::settlement::executor::{BatchResult, Interrupted};
use crate::settlement::lock_order::LockTurn;

/// What to do after a message was handled.
pub(super) enum NextAction {
    Acknowledge,
    /// Acknowledge, and consume on a new connection, which declares the queue again.
    QueueDeleted,
    /// The process stops; the message is delivered again.
    Stopped,
}

impl PoisonIsolator {
    /// Moves a booking that is not due yet to the end of the queue. Pauses if nothing else is in it.
    pub(super) async fn postpone(
        &self,
        publishing: &mut ConfirmingChannel<'_>,
        delivery: &Delivery,
        due: Timestamp,
        now: Timestamp,
        rotation: &mut Rotation,
        stop: &CancellationToken,
    ) -> anyhow::Result<NextAction> {
        let message = self.message(delivery.data.clone(), RetrySchedule::of(delivery).headers());
        let Some(published) = stop.run_until_cancelled(publish(publishing, &message)).await else {
            return Ok(NextAction::Stopped);
        };
        published.context("republishing a booking that is not due")?;
        // Pausing before the acknowledgement keeps the broker from delivering the next message meanwhile.
        let pause = rotation.record_put_back(&delivery.data, due, now);
        let _ = timeout(pause, stop.cancelled()).await;
        Ok(NextAction::Acknowledge)
    }

    pub(super) async fn handle(
        &mut self,
        deliveries: &mut lapin::Consumer,
        channels: &mut Channels<'_>,
        delivery: &Delivery,
        schedule: RetrySchedule,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> anyhow::Result<NextAction> {
        match next_step(&delivery.data, is_isolated(delivery), delivery_count(delivery), schedule.set_aside) {
            Step::Isolate(bookings) => {
                // Waits while the broker blocks publishers.
                match stop.run_until_cancelled(self.isolate(&mut channels.publishing, &bookings)).await {
                    Some(isolated) => isolated.map(|()| NextAction::Acknowledge),
                    None => Ok(NextAction::Stopped),
                }
            }
            Step::Settle(batch) => {
                let batch = expire_set_aside(batch, schedule, now);
                let (result, queue_deleted) = self.settle(deliveries, batch, stop).await?;
                let Ok(result) = result else { return Ok(NextAction::Stopped) };
                match stop
                    .run_until_cancelled(self.requeue_unsettled(&mut channels.publishing, &result))
                    .await
                {
                    Some(requeued) => requeued?,
                    None => return Ok(NextAction::Stopped),
                }
                self.announce(result);
                Ok(if queue_deleted { NextAction::QueueDeleted } else { NextAction::Acknowledge })
            }
            Step::Requeue(unsupported) => {
                // First, so that the message is not delivered to this worker again.
                channels.consuming.basic_cancel(deliveries.tag(), BasicCancelOptions::default()).await?;
                self.stop_consuming(&mut channels.publishing, delivery, unsupported, stop).await?;
                Ok(NextAction::Stopped)
            }
        }
    }

    /// Settles the batch, and fails as soon as the channel fails: the message is delivered again, perhaps to another
    /// worker. A message of a deleted queue is not delivered again, so it is settled first. Returns whether the queue
    /// was deleted.
    async fn settle(
        &mut self,
        deliveries: &mut lapin::Consumer,
        batch: Batch,
        stop: &CancellationToken,
    ) -> anyhow::Result<(Result<BatchResult, Interrupted>, bool)> {
        let mut settling = pin!(self.executor.settle(batch, LockTurn::default(), stop));
        let mut queue_deleted = false;
        loop {
            tokio::select! {
                result = &mut settling => return Ok((result, queue_deleted)),
                // With one message unacknowledged, the broker delivers no other.
                next = deliveries.next(), if !queue_deleted => match next {
                    Some(Err(error)) => return Err(error).context("the channel failed while a booking was settled"),
                    Some(Ok(_)) => bail!("the broker exceeded the prefetch limit"),
                    None => queue_deleted = true,
                },
            }
        }
    }

    /// Moves what could not be settled to the end of the queue, for a later attempt.
    async fn requeue_unsettled(
        &self,
        publishing: &mut ConfirmingChannel<'_>,
        result: &BatchResult,
    ) -> anyhow::Result<()> {
        let now = self.clock.now();
        let set_aside =
            result.set_aside.iter().map(|command| (command, RetrySchedule::after_set_aside(command, now)));
        let deferred =
            result.deferred.iter().map(|command| (command, RetrySchedule::after_deferral(command, now)));
        for (command, schedule) in set_aside.chain(deferred) {
            let message = self.message(parcel_of(&command.payload), schedule.headers());
            publish(publishing, &message).await.context("requeuing a booking")?;
            if schedule.set_aside > command.set_aside {
                // From here on, the death of this process uses up no redelivery of the booking.
                info!(ticket.log_id = %command.ticket.id, trace_id = trace_id(command.trace), "booking put back into {} until its next attempt", self.queue);
            }
        }
        Ok(())
    }

    fn message(&self, body: Vec<u8>, headers: FieldTable) -> Message {
        Message { queue: self.queue.clone(), body, headers, if_full: None }
    }

    /// Republishes each of the bookings as an isolated message.
    async fn isolate(
        &self,
        publishing: &mut ConfirmingChannel<'_>,
        bookings: &[&RawValue],
    ) -> anyhow::Result<()> {
        warn!("parcel exceeded its delivery limit; isolating its {} bookings", bookings.len());
        for booking in bookings {
            let headers = RetrySchedule::default().headers();
            publishing
                .publish(&self.queue, &parcel_of(booking.get()), headers)
                .await
                .context("splitting a parcel")?;
        }
        Ok(())
    }

    fn announce(&self, result: BatchResult) {
        let BatchResult { tickets, sales, announcement_spans, .. } = result;
        if !tickets.is_empty() {
            // These bookings were not in the intake queue, so they say nothing about its length or rate.
            let announcement = SettledEvent { tickets, bookings: 0, parcels: 0, sales };
            self.outcome_publisher.publish(announcement, announcement_spans);
        }
    }

    /// Republishes messages that only a newer worker can read, so that they use up no redelivery, and consumes nothing
    /// further.
    async fn stop_consuming(
        &self,
        publishing: &mut ConfirmingChannel<'_>,
        delivery: &Delivery,
        unsupported: UnsupportedVersion,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        error!("poison isolation stopped until this worker is upgraded and restarted: {unsupported}");
        self.readiness.set_not_ready("a message in bookings.dead needs a newer worker");
        let headers = RetrySchedule::of(delivery).headers();
        publishing
            .publish(&self.queue, &delivery.data, headers)
            .await
            .context("republishing a booking for a newer worker")?;
        acknowledge(delivery).await?;
        stop.cancelled().await;
        Ok(())
    }
}

pub(super) async fn acknowledge(delivery: &Delivery) -> anyhow::Result<()> {
    if !delivery.acker.ack(BasicAckOptions::default()).await? {
        bail!("the channel closed before a message was acknowledged; it will be delivered again");
    }
    Ok(())
}

/// Converts a booking that was set aside and is past its deadline into a dead letter. Its ticket expires, by an insert
/// that contains nothing else of the booking.
fn expire_set_aside(batch: Batch, schedule: RetrySchedule, now: Timestamp) -> Batch {
    if schedule.set_aside == 0 || !batch.is_past_deadline(now) {
        return batch;
    }
    let detail = format!("set aside {} times; the errors are in the workers' logs", schedule.set_aside);
    batch.into_dead_letters(DeadLetterReason::SetAside, &detail)
}

/// How often this message was redelivered. A quorum queue counts each time that a consumer dies, or loses its
/// connection, before it acknowledges.
fn delivery_count(delivery: &Delivery) -> u64 {
    match header(delivery, "x-delivery-count") {
        Some(AMQPValue::LongLongInt(count)) => count.unsigned_abs(),
        Some(AMQPValue::LongInt(count)) => count.unsigned_abs().into(),
        Some(AMQPValue::LongUInt(count)) => (*count).into(),
        _ => 0,
    }
}
