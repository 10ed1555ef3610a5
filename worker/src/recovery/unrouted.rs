//! Puts bookings back on their way that were confirmed while there was no intake queue: somebody had deleted it, and the
//! exchange kept them in `bookings.unrouted`. Nothing is wrong with them, so they go where they were meant to go, unread.
//!
//! A parcel is in the intake queue, by the broker's own word, before it is acknowledged here. One that gets there twice is
//! settled once.

use std::time::Duration;

use anyhow::bail;
use futures_util::StreamExt;
use hamro_shared::backoff::Backoff;
use hamro_shared::queue::{
    BOOKINGS_HEADER, PublishError, QueueDeleted, Session, Topology, publish_confirmed,
};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ConfirmSelectOptions};
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
        Self { from: topology.unrouted(), to: topology.intake() }
    }

    async fn work(&self, channel: &Channel) -> anyhow::Result<()> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let mut deliveries =
            channel.basic_consume(self.from.as_str().into(), "".into(), options, arguments).await?;
        loop {
            let delivery = deliveries.next().await.ok_or_else(|| QueueDeleted(self.from.clone()))??;
            self.forward(channel, &delivery).await?;
            info!("a parcel that had found no queue is on its way again");
            if !delivery.acker.ack(BasicAckOptions::default()).await? {
                bail!("the channel closed with a parcel in hand: it will come again");
            }
        }
    }

    /// Puts the parcel into the intake queue, however long there is no room in it.
    async fn forward(&self, channel: &Channel, parcel: &Delivery) -> anyhow::Result<()> {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            match publish_confirmed(channel, &self.to, &parcel.data, bookings_header(parcel)).await {
                Ok(()) => return Ok(()),
                Err(PublishError::Refused) => {
                    warn!("a parcel that had found no queue waits until there is room in {}", self.to);
                    backoff.pause().await;
                }
                // A new session declares the queue again.
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Session for UnroutedForwarder {
    const ROLE: &'static str = "rerouting";

    /// What is in hand when `stop` comes goes back to the queue: it is whole there, or in the intake queue, or in both.
    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        stop.run_until_cancelled(self.work(channel)).await.unwrap_or(Ok(()))
    }
}

/// How many bookings are in the parcel, as the intake has counted them.
fn bookings_header(parcel: &Delivery) -> FieldTable {
    let mut headers = FieldTable::default();
    let counted = parcel.properties.headers().as_ref().and_then(|all| all.inner().get(BOOKINGS_HEADER));
    if let Some(count) = counted {
        headers.insert(BOOKINGS_HEADER.into(), count.clone());
    }
    headers
}
