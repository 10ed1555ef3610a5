//! Tells the other api instances how many bookings this one has published.
//!
//! It uses the publisher's connection, because the broker stops reading from connections that publish while it is short
//! of memory, and announcements must still arrive then. It has its own channel, so that nothing about it can disturb
//! the confirms of bookings.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use hamro_shared::queue::HeartbeatSchedule;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::timeout;
use tracing::debug;

use crate::outcomes::queue_estimate::QueueEstimate;

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends the heartbeats of this instance.
pub(super) struct HeartbeatSender<'a> {
    connection: &'a Connection,
    exchange: String,
    queue_estimate: QueueEstimate,
    channel: Option<Channel>,
}

impl<'a> HeartbeatSender<'a> {
    pub fn new(connection: &'a Connection, exchange: String, queue_estimate: QueueEstimate) -> Self {
        Self { connection, exchange, queue_estimate, channel: None }
    }

    /// Sends heartbeats. One that cannot be sent is skipped.
    pub async fn send_all(&mut self) -> Infallible {
        let queue_estimate = self.queue_estimate.clone();
        let mut schedule = HeartbeatSchedule::default();
        loop {
            let state = schedule.next(|| queue_estimate.published()).await;
            if self.connection.status().blocked() {
                continue;
            }
            if let Err(error) = self.send(&queue_estimate.heartbeat(state).encode()).await {
                debug!("cannot send a heartbeat: {error:#}");
                self.channel = None;
            }
        }
    }

    async fn send(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let Self { connection, exchange, channel, .. } = self;
        let sending = async {
            let channel = match channel {
                Some(channel) => channel,
                None => channel.insert(connection.create_channel().await?),
            };
            let properties = BasicProperties::default().with_content_type("application/json".into());
            let options = BasicPublishOptions::default();
            channel.basic_publish(exchange.as_str().into(), "".into(), options, body, properties).await
        };
        timeout(PUBLISH_TIMEOUT, sending).await.context("the broker does not accept it")??;
        Ok(())
    }

    /// Closes the channel. A channel that is dropped closes itself in the background, and logs an error if the
    /// connection is closed meanwhile.
    pub async fn close(self) {
        if let Some(channel) = self.channel {
            let _ = timeout(PUBLISH_TIMEOUT, channel.close(200, "done".into())).await;
        }
    }
}
