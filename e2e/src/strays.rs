//! Messages that have strayed from their way, as tests bring it about.

use anyhow::{Context, Result};
use hamro_shared::queue::{Envelope, ISOLATED_HEADER, Parcel, publish_confirmed};
use lapin::message::BasicGetMessage;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};

use crate::outage::{rabbitmqctl, run};
use crate::{Installation, wait_until};

/// A parcel of these.
pub fn parcel<'a>(envelopes: impl IntoIterator<Item = &'a Envelope>) -> Vec<u8> {
    let mut parcel = Parcel::default();
    envelopes.into_iter().for_each(|envelope| parcel.push(&envelope.clone().encode()));
    parcel.encode()
}

impl Installation {
    /// Puts this into the queue of the dead, as the broker does with what came back too often.
    pub async fn give_up(&self, parcel: &[u8]) -> Result<()> {
        Ok(publish_confirmed(&self.channel, &self.topology.dead(), parcel, FieldTable::default()).await?)
    }

    /// Has the booking come back as often, alone, as it takes to be given up for good.
    pub async fn condemn(&self, envelope: &Envelope) -> Result<()> {
        let mut alone = FieldTable::default();
        alone.insert(ISOLATED_HEADER.into(), AMQPValue::Boolean(true));
        let queue = self.topology.dead();
        publish_confirmed(&self.channel, &queue, &parcel([envelope]), alone).await?;
        self.die_holding(&queue, 3).await
    }

    /// Takes a message from the queue and dies with it in hand, as often as that.
    pub async fn die_holding(&self, queue: &str, times: u32) -> Result<()> {
        for time in 1..=times {
            let channel = self.connection.create_channel().await?;
            wait_until(&format!("{queue} has a message for the {time}th time"), async || {
                Ok(channel.basic_get(queue.into(), BasicGetOptions::default()).await?)
            })
            .await?;
            channel.close(200, "died".into()).await?;
        }
        Ok(())
    }

    /// Takes a message out of the queue for good.
    pub async fn take(&self, queue: &str) -> Result<BasicGetMessage> {
        let options = BasicGetOptions { no_ack: true };
        self.channel.basic_get(queue.into(), options).await?.with_context(|| format!("nothing in {queue}"))
    }

    /// How many messages are in the queue, those that somebody holds not counted.
    pub async fn messages_in(&self, queue: &str) -> Result<u32> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        Ok(queue.message_count())
    }

    /// Lets the queue of the dead hold no more than this many messages, or as many as it likes.
    pub fn limit_dead(&self, messages: Option<u32>) -> Result<()> {
        let queue = self.topology.dead();
        run(match messages {
            Some(messages) => {
                let pattern = format!("^{}$", queue.replace('.', "\\."));
                let bound = format!(r#"{{"max-length":{messages},"overflow":"reject-publish"}}"#);
                rabbitmqctl(&["set_policy", "--apply-to", "queues", &queue, &pattern, &bound])?
            }
            None => rabbitmqctl(&["clear_policy", &queue])?,
        })
    }
}
