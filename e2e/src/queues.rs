//! Operations on the intake queue.

use anyhow::Result;
use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;

use crate::outage::{rabbitmqctl, run};
use crate::{Installation, wait_until};

impl Installation {
    /// Limits the intake queue to this many messages.
    pub fn limit_queue(&self, messages: u32) -> Result<()> {
        let pattern = format!("^{}$", self.topology.intake_queue().replace('.', "\\."));
        let bound = format!(r#"{{"max-length":{messages}}}"#);
        run(rabbitmqctl(&["set_policy", "--apply-to", "queues", self.name(), &pattern, &bound])?)
    }

    /// Removes the limit.
    pub fn unlimit_queue(&self) -> Result<()> {
        run(rabbitmqctl(&["clear_policy", self.name()])?)
    }

    /// Deletes the intake queue and its messages.
    pub async fn delete_queue(&self) -> Result<()> {
        self.channel.queue_delete(self.topology.intake_queue().into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }

    /// Waits until the intake queue has this many consumers.
    pub async fn is_consumed_by(&self, consumers: u32) -> Result<()> {
        wait_until(&format!("the intake queue has {consumers} consumers"), async || {
            // A passive declaration of a missing queue closes the channel, hence a separate one.
            let channel = self.connection.create_channel().await?;
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let state = channel
                .queue_declare(self.topology.intake_queue().into(), options, FieldTable::default())
                .await;
            Ok(state.is_ok_and(|queue| queue.consumer_count() == consumers).then_some(()))
        })
        .await
    }

    /// Declares a queue that receives a copy of every message published to the intake queue from here on.
    pub async fn tap(&self) -> Result<String> {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let tap = self.channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let (tap, exchange, key) =
            (tap.name().to_string(), self.topology.bookings_exchange(), self.topology.intake_queue());
        let options = QueueBindOptions::default();
        self.channel
            .queue_bind(tap.as_str().into(), exchange.into(), key.into(), options, FieldTable::default())
            .await?;
        Ok(tap)
    }

    /// Removes all messages from the intake queue and returns their bodies.
    pub async fn take_messages(&self) -> Result<Vec<Vec<u8>>> {
        let mut bodies = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = self.channel.basic_get(self.topology.intake_queue().into(), options).await?
        {
            bodies.push(message.delivery.data);
        }
        Ok(bodies)
    }
}
