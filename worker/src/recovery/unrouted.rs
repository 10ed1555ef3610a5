//! Forwards parcels that were confirmed while the intake queue was deleted: the exchange stored them in
//! `bookings.unrouted`.
//!
//! They are forwarded to the intake queue unread, and acknowledged once the broker has confirmed them there. Duplicates
//! are settled once.

use std::time::Duration;

use anyhow::bail;
use futures_util::StreamExt;
use hamro_shared::backoff::Backoff;
use hamro_shared::queue::{
    BOOKINGS_HEADER, BrokerTask, ConfirmingChannel, PublishError, QueueDeleted, Topology, consume,
};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub struct UnroutedForwarder {
    from: String,
    to: String,
}

impl UnroutedForwarder {
    pub fn new(topology: &Topology) -> Self {
        Self { from: topology.unrouted_queue(), to: topology.intake_queue() }
    }

    async fn forward_all(&self, connection: &Connection, channel: &Channel) -> anyhow::Result<()> {
        let mut deliveries = consume(channel, &self.from, 1).await?;
        let mut publishing = ConfirmingChannel::new(connection, channel);
        loop {
            let delivery = deliveries.next().await.ok_or_else(|| QueueDeleted(self.from.clone()))??;
            self.forward(&mut publishing, &delivery).await?;
            info!("forwarded an unrouted parcel to {}", self.to);
            if !delivery.acker.ack(BasicAckOptions::default()).await? {
                bail!("the channel closed before a parcel was acknowledged; it will be delivered again");
            }
        }
    }

    /// Publishes the parcel to the intake queue, however long that is full.
    async fn forward(&self, channel: &mut ConfirmingChannel<'_>, parcel: &Delivery) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match channel.publish(&self.to, &parcel.data, bookings_header(parcel)).await {
                Ok(()) => return Ok(()),
                Err(PublishError::Refused) => {
                    warn!("{} is full; an unrouted parcel is waiting", self.to);
                    backoff.pause().await;
                }
                // The next connection declares the queue again.
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl BrokerTask for UnroutedForwarder {
    const ROLE: &'static str = "forwarding unrouted parcels";
    const CONFIRMS: bool = true;

    fn publishes_to(&self) -> Vec<String> {
        // The default exchange.
        vec![String::new()]
    }

    /// A parcel that is being forwarded when `stop` is cancelled returns to its queue. It may be in the intake queue as
    /// well.
    async fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        stop.run_until_cancelled(self.forward_all(connection, channel)).await.unwrap_or(Ok(()))
    }
}

/// The number of bookings in the parcel, as the api counted them.
fn bookings_header(parcel: &Delivery) -> FieldTable {
    let mut headers = FieldTable::default();
    let counted = parcel.properties.headers().as_ref().and_then(|all| all.inner().get(BOOKINGS_HEADER));
    if let Some(count) = counted {
        headers.insert(BOOKINGS_HEADER.into(), count.clone());
    }
    headers
}
