//! Tells the api instances what has been settled, on a connection of its own: while the broker blocks publishers,
//! nothing is written on their connections, and acknowledgements must go through.

use std::time::Duration;

use anyhow::Context;
use hamro_shared::queue::{Session, SettledEvent, Topology};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Batches that may wait to be announced. An announcement is a hint: while the broker takes none they are dropped.
const BACKLOG: usize = 256;

/// How long to try to send one.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Where settled batches are handed in.
#[derive(Clone)]
pub struct OutcomePublisher(mpsc::Sender<SettledEvent>);

/// The announcements that wait to be sent.
pub struct OutcomePublishingTask {
    receiver: mpsc::Receiver<SettledEvent>,
    exchange: String,
}

pub fn outcome_publisher(topology: &Topology) -> (OutcomePublisher, OutcomePublishingTask) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    (OutcomePublisher(sender), OutcomePublishingTask { receiver, exchange: topology.settled() })
}

impl OutcomePublisher {
    /// Never waits.
    pub fn publish(&self, message: SettledEvent) {
        if self.0.try_send(message).is_err() {
            debug!("the announcements are full: dropped one");
        }
    }
}

impl Session for OutcomePublishingTask {
    const ROLE: &'static str = "announcing";

    /// Sends announcements until there is nobody left to make any.
    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        _stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        while let Some(message) = self.receiver.recv().await {
            let properties = BasicProperties::default().with_content_type("application/json".into());
            let (exchange, body) = (self.exchange.as_str().into(), message.encode());
            let publishing =
                channel.basic_publish(exchange, "".into(), BasicPublishOptions::default(), &body, properties);
            // While the broker blocks publishers this would wait for ever.
            timeout(PUBLISH_TIMEOUT, publishing).await.context("the broker takes no announcements")??;
        }
        Ok(())
    }
}
