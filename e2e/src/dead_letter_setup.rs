//! Messages in `bookings.dead`, as the broker and workers leave them there.

use anyhow::{Context, Result};
use hamro_shared::queue::{Envelope, Parcel, publish_confirmed};
use lapin::message::BasicGetMessage;
use lapin::options::BasicGetOptions;
use lapin::types::{AMQPValue, FieldTable};

use crate::outage::{rabbitmqctl, run_aside};
use crate::{Deployment, wait_until};

/// The message header with which a worker marks an isolated booking.
const ISOLATED_HEADER: &str = "x-alone";

/// The encoded parcel of these envelopes.
pub fn parcel<'a>(envelopes: impl IntoIterator<Item = &'a Envelope>) -> Vec<u8> {
    let mut parcel = Parcel::default();
    envelopes.into_iter().for_each(|envelope| parcel.push(&envelope.clone().encode()));
    parcel.encode()
}

impl Deployment {
    /// Publishes this to `bookings.dead`, like the broker after too many redeliveries.
    pub async fn publish_dead(&self, parcel: &[u8]) -> Result<()> {
        Ok(publish_confirmed(&self.channel, &self.topology.dead_queue(), parcel, FieldTable::default())
            .await?)
    }

    /// Turns this booking into a dead letter by a new worker, and returns its id.
    pub async fn store_dead_letter(&mut self, envelope: &Envelope) -> Result<i64> {
        self.exhaust_retries(envelope).await?;
        self.start_worker(&[]).await?;
        wait_until("the dead letter is stored", async || {
            Ok(sqlx::query_scalar("SELECT id FROM dead_letters WHERE ticket_id = $1")
                .bind(envelope.ticket.id.0)
                .fetch_optional(&self.pool)
                .await?)
        })
        .await
    }

    /// Publishes an isolated booking, and returns it to the queue often enough that the poison isolator stops trying
    /// it.
    pub async fn exhaust_retries(&self, envelope: &Envelope) -> Result<()> {
        let mut alone = FieldTable::default();
        alone.insert(ISOLATED_HEADER.into(), AMQPValue::Boolean(true));
        let queue = self.topology.dead_queue();
        publish_confirmed(&self.channel, &queue, &parcel([envelope]), alone).await?;
        self.requeue_unacked(&queue, 3).await
    }

    /// Receives a message and closes the channel without acknowledging it, this many times.
    pub async fn requeue_unacked(&self, queue: &str, times: u32) -> Result<()> {
        for time in 1..=times {
            let channel = self.connection.create_channel().await?;
            wait_until(&format!("{queue} has a message (round {time})"), async || {
                Ok(channel.basic_get(queue.into(), BasicGetOptions::default()).await?)
            })
            .await?;
            channel.close(200, "died".into()).await?;
        }
        Ok(())
    }

    /// Removes a message from the queue.
    pub async fn get(&self, queue: &str) -> Result<BasicGetMessage> {
        let options = BasicGetOptions { no_ack: true };
        self.channel.basic_get(queue.into(), options).await?.with_context(|| format!("{queue} is empty"))
    }

    /// Limits `bookings.dead` to this many messages, or removes the limit.
    pub async fn limit_dead_queue(&self, messages: Option<u32>) -> Result<()> {
        let queue = self.topology.dead_queue();
        run_aside(match messages {
            Some(messages) => {
                let pattern = format!("^{}$", queue.replace('.', "\\."));
                let bound = format!(r#"{{"max-length":{messages},"overflow":"reject-publish"}}"#);
                rabbitmqctl(&["set_policy", "--apply-to", "queues", &queue, &pattern, &bound])?
            }
            None => rabbitmqctl(&["clear_policy", &queue])?,
        })
        .await
    }
}
