//! Channels in confirm mode, and when to replace one.
//!
//! RabbitMQ refuses a message if the queue is full. RabbitMQ 3.10 also refuses every message of a channel that was first
//! used while a quorum queue had no leader: the channel keeps asking the node that led the queue before, although the other
//! nodes have elected a new leader since. The nack is the same, so a channel that was only refused for a while is
//! replaced. If the queue is full, that costs an instance one opened channel every two seconds.

use std::time::Duration;

use lapin::options::ConfirmSelectOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::{Instant, timeout};

use super::publish::{PublishError, publish_confirmed};

/// How long a channel may be refused everything. An election takes less.
const REPLACED_AFTER: Duration = Duration::from_secs(2);

/// How long RabbitMQ may take to open a channel.
const OPENING_LIMIT: Duration = Duration::from_secs(5);

/// Opens a channel whose messages the broker confirms.
pub async fn open_confirming_channel(connection: &Connection) -> anyhow::Result<Channel> {
    let opening = async {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    };
    timeout(OPENING_LIMIT, opening).await?
}

/// Since when a channel has been refused everything.
#[derive(Debug, Default)]
pub struct Refusals {
    since: Option<Instant>,
}

impl Refusals {
    pub fn on_confirmed(&mut self) {
        self.since = None;
    }

    pub fn on_refused(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Whether to use another channel.
    pub fn call_for_another_channel(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.saturating_duration_since(since) >= REPLACED_AFTER)
    }
}

/// A channel for one message at a time. It is replaced when RabbitMQ refuses everything on it.
pub struct ConfirmingChannel<'a> {
    connection: &'a Connection,
    channel: Channel,
    refusals: Refusals,
}

impl<'a> ConfirmingChannel<'a> {
    /// `channel` is an open channel of the connection, in confirm mode. No other task may publish on it.
    pub fn new(connection: &'a Connection, channel: &Channel) -> Self {
        Self { connection, channel: channel.clone(), refusals: Refusals::default() }
    }

    /// Publishes one message, as [`publish_confirmed`] does.
    pub async fn publish(
        &mut self,
        queue: &str,
        body: &[u8],
        headers: FieldTable,
    ) -> Result<(), PublishError> {
        if self.refusals.call_for_another_channel(Instant::now()) {
            self.channel = open_confirming_channel(self.connection).await.map_err(PublishError::NoChannel)?;
            self.refusals = Refusals::default();
        }
        let result = publish_confirmed(&self.channel, queue, body, headers).await;
        match result {
            Ok(()) => self.refusals.on_confirmed(),
            Err(PublishError::Refused) => self.refusals.on_refused(Instant::now()),
            Err(_) => {}
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_replaced_once_it_was_only_refused_for_two_seconds() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut refusals = Refusals::default();
        assert!(!refusals.call_for_another_channel(start));
        refusals.on_refused(start);
        assert!(refusals.call_for_another_channel(at(2_000)));
        refusals.on_confirmed();
        refusals.on_refused(at(2_000));
        refusals.on_refused(at(3_900));
        assert!(!refusals.call_for_another_channel(at(3_999)));
        assert!(refusals.call_for_another_channel(at(4_000)));
    }
}
