//! Announces settled batches to the api instances.
//!
//! It has its own connection: while the broker blocks publishers, nothing is written on their connections, and
//! acknowledgements must not wait.

use std::time::Duration;

use anyhow::Context;
use hamro_shared::queue::{BrokerTask, SettledEvent, Topology};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Batches that may wait to be announced. Announcements are hints: while the broker accepts none, further ones are
/// dropped.
const BACKLOG: usize = 256;

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Queues announcements.
#[derive(Clone)]
pub struct OutcomePublisher(mpsc::Sender<SettledEvent>);

/// Sends the queued announcements.
pub struct OutcomePublishingTask {
    receiver: mpsc::Receiver<SettledEvent>,
    exchange: String,
}

pub fn outcome_publisher(topology: &Topology) -> (OutcomePublisher, OutcomePublishingTask) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    (OutcomePublisher(sender), OutcomePublishingTask { receiver, exchange: topology.settled_exchange() })
}

impl OutcomePublisher {
    /// Queues an announcement, or drops it if the queue is full. Never waits.
    pub fn publish(&self, announcement: SettledEvent) {
        if self.0.try_send(announcement).is_err() {
            debug!("outcome queue full; dropped one announcement");
        }
    }
}

impl BrokerTask for OutcomePublishingTask {
    const ROLE: &'static str = "announcing outcomes";

    fn publishes_to(&self) -> Option<&str> {
        Some(&self.exchange)
    }

    /// Sends announcements until all [`OutcomePublisher`]s are dropped.
    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        _stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        while let Some(announcement) = self.receiver.recv().await {
            let properties = BasicProperties::default().with_content_type("application/json".into());
            let (exchange, body) = (self.exchange.as_str().into(), announcement.encode());
            let publishing =
                channel.basic_publish(exchange, "".into(), BasicPublishOptions::default(), &body, properties);
            // Would wait forever while the broker blocks publishers.
            timeout(PUBLISH_TIMEOUT, publishing).await.context("the broker accepts no announcements")??;
        }
        Ok(())
    }
}
