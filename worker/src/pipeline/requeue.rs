//! Publishes single bookings to a queue again, each as a message of its own, and waits for the broker's confirm.
//!
//! It has a connection of its own: while the broker blocks publishers, nothing is written on their connections, and the
//! consumer's acknowledgements must go through. Callers acknowledge the parcel a booking came in only after the confirm, so a
//! crash in between leaves a duplicate, which is settled once, and never loses a booking.

use std::time::Duration;

use anyhow::Context;
use hamro_shared::backoff::Backoff;
use hamro_shared::queue::{PublishError, Session, publish_confirmed};
use lapin::options::ConfirmSelectOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// A booking to publish, and where.
#[derive(Clone, Debug)]
pub struct Message {
    pub queue: String,
    pub body: Vec<u8>,
    pub headers: FieldTable,
    /// What to publish instead if the queue has no room. To wait for room in the queue that one consumes from could take for
    /// ever: nothing is acknowledged meanwhile, and so nothing is received.
    pub if_full: Option<Box<Message>>,
}

/// Accepts messages.
#[derive(Clone)]
pub struct Requeue(mpsc::Sender<Request>);

/// The messages that wait to be published.
pub struct RequeueTask {
    receiver: mpsc::Receiver<Request>,
    /// Kept across connections until it is confirmed.
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
    /// Returns once the broker has confirmed the message, however long the queue is full or the broker away.
    pub async fn publish(&self, message: Message) -> anyhow::Result<()> {
        let (confirmed, confirm) = oneshot::channel();
        self.0.send(Request { message, confirmed }).await.ok().context("nobody publishes any more")?;
        confirm.await.context("nobody publishes any more")
    }
}

impl Session for RequeueTask {
    const ROLE: &'static str = "requeuing";

    /// Publishes until no caller is left.
    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        loop {
            if self.current.is_none() {
                self.current = self.receiver.recv().await;
            }
            let Some(request) = &self.current else { return Ok(()) };
            // A caller that has given up acknowledges nothing, so the booking comes again.
            if !request.confirmed.is_closed() {
                match stop.run_until_cancelled(publish(channel, &request.message)).await {
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

/// Publishes the message, however long the queue has no room for it.
pub async fn publish(channel: &Channel, message: &Message) -> Result<(), PublishError> {
    let mut message = message;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        let Message { queue, body, headers, if_full } = message;
        match (publish_confirmed(channel, queue, body, headers.clone()).await, if_full) {
            (Err(PublishError::Refused), Some(other)) => {
                warn!("{queue} is full: a booking is published to {} instead", other.queue);
                message = other;
            }
            (Err(PublishError::Refused), None) => {
                warn!("{queue} is full: a booking waits to be published to it");
                backoff.pause().await;
            }
            (result, _) => return result,
        }
    }
}
