//! Best-effort messages to other instances: heartbeats and announcements of releases.
//!
//! They use the publisher's connection, because the broker stops reading from connections that publish while it is short
//! of memory, and announcements must still arrive then. They have a channel of their own, so that nothing about them can
//! disturb the confirms of bookings.

use std::time::Duration;

use anyhow::Context;
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::timeout;

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// A channel to an exchange. It is opened when the first message is sent, and again after a failure.
pub(super) struct SideChannel<'a> {
    connection: &'a Connection,
    exchange: String,
    channel: Option<Channel>,
}

impl<'a> SideChannel<'a> {
    pub fn new(connection: &'a Connection, exchange: String) -> Self {
        Self { connection, exchange, channel: None }
    }

    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub async fn send(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let sent = self.try_send(body).await;
        if sent.is_err() {
            self.channel = None;
        }
        sent
    }

    async fn try_send(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let Self { connection, exchange, channel } = self;
        // The broker closes a channel when its exchange is missing.
        if channel.as_ref().is_some_and(|channel| !channel.status().connected()) {
            *channel = None;
        }
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
