//! The intake queue: publishing bookings as the api would, waiting until they are settled, limits, and copies of what
//! was published.

use std::time::Duration;

use anyhow::{Result, ensure};
use hamro_shared::domain::{Clock, Ticket, TicketKeys};
use hamro_shared::queue::{Envelope, Parcel};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation};

use super::Deployment;
use crate::client::booking;
use crate::outage::{rabbitmqctl, run_aside};
use crate::wait_until;

/// Customer name of the bookings that the tests publish to detect when the queue is drained.
pub const DRAIN_MARKER: &str = "marker";

pub(super) const TICKET_KEY: &str = "5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e";

/// A booking with a valid ticket, as the api would publish it.
pub fn envelope(customer: &str, seats: &[i64]) -> Result<Envelope> {
    let now = Clock::system().now();
    let request = serde_json::from_value(booking(customer, seats))?;
    let ticket =
        Ticket { id: TicketKeys::parse(TICKET_KEY)?.issue(now), deadline: now + Duration::from_mins(15) };
    Ok(Envelope { ticket, idempotency_key: None, request, trace: None })
}

/// Publishes to the intake queue of a deployment. Can be moved into another task.
#[derive(Clone)]
pub struct IntakePublisher {
    channel: Channel,
    exchange: String,
    queue: String,
}

impl IntakePublisher {
    /// Publishes this parcel as the api would, and waits for the confirm.
    pub async fn publish(&self, parcel: &[u8]) -> Result<()> {
        let (exchange, key) = (self.exchange.as_str().into(), self.queue.as_str().into());
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let confirm = self.channel.basic_publish(exchange, key, options, parcel, properties).await?;
        ensure!(confirm.await? == Confirmation::Ack(None), "the broker did not accept a parcel");
        Ok(())
    }
}

impl Deployment {
    pub fn publisher(&self) -> IntakePublisher {
        IntakePublisher {
            channel: self.channel.clone(),
            exchange: self.topology.bookings_exchange(),
            queue: self.topology.intake_queue(),
        }
    }

    /// Publishes this parcel as the api would, and waits for the confirm.
    pub async fn publish(&self, parcel: &[u8]) -> Result<()> {
        self.publisher().publish(parcel).await
    }

    /// Waits until everything that is in the queue now has been settled. Requires that only one worker consumes: this
    /// publishes a booking for a seat that does not exist, and waits until it is settled.
    pub async fn drained(&self) -> Result<()> {
        let marker = envelope(DRAIN_MARKER, &[i64::from(i32::MAX)])?;
        let ticket = marker.ticket.id.0;
        let mut parcel = Parcel::default();
        parcel.push(&marker.encode());
        self.publish(&parcel.encode()).await?;
        wait_until("the queue is drained", async || {
            let settled: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT FROM bookings WHERE ticket_id = $1)")
                    .bind(ticket)
                    .fetch_one(&self.pool)
                    .await?;
            Ok(settled.then_some(()))
        })
        .await
    }

    /// Limits the intake queue to this many messages.
    pub async fn limit_queue(&self, messages: u32) -> Result<()> {
        let pattern = format!("^{}$", self.topology.intake_queue().replace('.', "\\."));
        let bound = format!(r#"{{"max-length":{messages}}}"#);
        run_aside(rabbitmqctl(&["set_policy", "--apply-to", "queues", self.name(), &pattern, &bound])?).await
    }

    /// Removes the limit.
    pub async fn unlimit_queue(&self) -> Result<()> {
        run_aside(rabbitmqctl(&["clear_policy", self.name()])?).await
    }

    /// Deletes the intake queue and its messages.
    pub async fn delete_queue(&self) -> Result<()> {
        self.channel.queue_delete(self.topology.intake_queue().into(), QueueDeleteOptions::default()).await?;
        Ok(())
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
