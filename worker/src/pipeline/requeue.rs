//! Republishes single bookings, each as one message, and waits for the broker's confirm.
//!
//! It has its own connection: while the broker blocks publishers, nothing is written on their connections, and the
//! consumer's acknowledgements must not wait. Callers acknowledge a booking's parcel only after the confirm. A crash in
//! between leaves a duplicate, which is settled once, and never loses a booking.

use std::time::Duration;

use anyhow::Context;
use hamro_shared::backoff::Backoff;
use hamro_shared::queue::{BrokerTask, ConfirmingChannel, PublishError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A booking to publish.
#[derive(Clone, Debug)]
pub struct Message {
    pub queue: String,
    pub body: Vec<u8>,
    pub headers: FieldTable,
    /// What to publish instead if the queue is full. The consumer must not wait for room in the queue that it consumes:
    /// nothing is acknowledged meanwhile, so the queue would never shrink.
    pub if_full: Option<Box<Message>>,
}

/// Hands messages to the [`RequeueTask`].
#[derive(Clone)]
pub struct Requeue(mpsc::Sender<Request>);

/// Publishes one message at a time.
pub struct RequeueTask {
    receiver: mpsc::Receiver<Request>,
    /// Kept across connections until confirmed.
    current: Option<Request>,
}

struct Request {
    message: Message,
    confirmed: oneshot::Sender<()>,
}

pub fn requeue() -> (Requeue, RequeueTask) {
    let (sender, receiver) = mpsc::channel(1);
    (Requeue(sender), RequeueTask { receiver, current: None })
}

impl Requeue {
    /// Returns once the broker has confirmed the message, however long the queue is full or the broker unavailable.
    pub async fn publish(&self, message: Message) -> anyhow::Result<()> {
        let (confirmed, confirm) = oneshot::channel();
        self.0.send(Request { message, confirmed }).await.ok().context("the requeue task has ended")?;
        confirm.await.context("the requeue task has ended")
    }
}

impl BrokerTask for RequeueTask {
    const ROLE: &'static str = "requeuing";
    const CONFIRMS: bool = true;

    fn publishes_to(&self) -> Vec<String> {
        // The default exchange.
        vec![String::new()]
    }

    /// Publishes until all [`Requeue`] handles are dropped.
    async fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mut channel = ConfirmingChannel::new(connection, channel);
        loop {
            if self.current.is_none() {
                self.current = self.receiver.recv().await;
            }
            let Some(request) = &self.current else { return Ok(()) };
            // A caller that has given up does not acknowledge, so the booking is delivered again.
            if !request.confirmed.is_closed() {
                match stop.run_until_cancelled(publish(&mut channel, &request.message)).await {
                    Some(published) => published?,
                    None => return Ok(()),
                }
            }
            if let Some(request) = self.current.take() {
                let _ = request.confirmed.send(());
            }
        }
    }
}

/// Publishes the message, however long the queue is full.
pub async fn publish(channel: &mut ConfirmingChannel<'_>, message: &Message) -> Result<(), PublishError> {
    let mut message = message;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        let Message { queue, body, headers, if_full } = message;
        match (channel.publish(queue, body, headers.clone()).await, if_full) {
            (Err(PublishError::Refused), Some(other)) => {
                warn!("{queue} is full; publishing a booking to {} instead", other.queue);
                message = other;
            }
            (Err(PublishError::Refused), None) => {
                warn!("{queue} is full; a booking is waiting to be requeued");
                backoff.pause().await;
            }
            (result, _) => return result,
        }
    }
}
