//! Acknowledges settled batches, while the next ones are being settled.

use std::future::pending;
use std::time::Duration;

use anyhow::{Context, bail};
use hamro_shared::fault_point;
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::consumer_watchdog::DeliveryProgress;
use super::requeue::{Message, Requeue};

/// How long the broker may take for an operation that it normally completes at once. A channel on which it takes longer
/// is broken, and only a new connection helps. Unacknowledged parcels are delivered again, and found settled.
pub(super) const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// A settled batch that is not acknowledged yet.
pub(super) struct SettledDelivery {
    /// The last of its parcels.
    pub last: Delivery,
    /// Bookings of the batch to republish before the acknowledgement.
    pub requeued: Vec<Message>,
    /// When to republish and acknowledge; at once during shutdown. Without this delay, deferred bookings would return
    /// as fast as they are requeued.
    pub not_before: Instant,
}

/// Acknowledges one batch at a time. Earlier parcels are all settled, so `multiple` acknowledges only settled parcels.
/// Republished bookings are confirmed before the acknowledgement.
pub(super) async fn acknowledge_all(
    mut ack_receiver: mpsc::Receiver<SettledDelivery>,
    requeue: &Requeue,
    progress: &DeliveryProgress,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    while let Some(SettledDelivery { last, requeued, not_before }) = ack_receiver.recv().await {
        // Later batches are settled meanwhile. A full prefetch window also stops deliveries until the acknowledgement.
        let _ = timeout_at(not_before, stop.cancelled()).await;
        for message in requeued {
            tokio::select! {
                published = requeue.publish(message) => {
                    published?;
                    fault_point!(AfterRequeue);
                }
                () = grace_period_after(stop, BROKER_TIMEOUT) => {
                    bail!("shutdown: a booking could not be requeued in time; its batch will be delivered again")
                }
            }
        }
        acknowledge(&last).await?;
        progress.acknowledged(last.delivery_tag);
    }
    Ok(())
}

/// Acknowledges everything up to `last`.
pub(super) async fn acknowledge(last: &Delivery) -> anyhow::Result<()> {
    let is_acknowledged = within_timeout(last.acker.ack(BasicAckOptions { multiple: true })).await?;
    #[cfg(feature = "faults")]
    let is_acknowledged = is_acknowledged || super::fault_injection::acknowledges_early();
    if !is_acknowledged {
        bail!("the channel closed before a batch was acknowledged; its parcels will be delivered again");
    }
    Ok(())
}

pub(super) async fn within_timeout<T>(
    operation: impl Future<Output = lapin::Result<T>>,
) -> anyhow::Result<T> {
    Ok(timeout(BROKER_TIMEOUT, operation).await.context("the broker does not respond")??)
}

/// Returns once `duration` has passed since `stop` was cancelled.
async fn grace_period_after(stop: &CancellationToken, duration: Duration) {
    stop.cancelled().await;
    let _ = timeout(duration, pending::<()>()).await;
}
