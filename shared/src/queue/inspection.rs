//! Reads what an operator wants to know of a running broker, for `hamro-api doctor` and `hamro-api keys`. Changes nothing
//! that lasts: the only queue it declares is that of its own connection, as every api instance does.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::opening::in_time;
use super::publish::check_may_publish;
use super::refusal::Refusal;
use super::{Broker, HEARTBEAT_EVERY, Heartbeat, SILENT_AFTER, consume};

/// How many messages wait in a queue, without those that were delivered, and how many consumers it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueCount {
    pub name: String,
    pub messages: u32,
    pub consumers: u32,
}

/// How many messages may be on their way to [`Broker::heard`].
const PREFETCH: u16 = 1_000;

/// How long an answer of the broker may take.
const LIMIT: Duration = Duration::from_secs(10);

impl Broker {
    /// The hosts and ports of the nodes.
    pub fn addresses(&self) -> String {
        self.opener.nodes.to_string()
    }

    /// What an administrator has to know, if RabbitMQ refuses something.
    fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        // The nodes have the same user and virtual host.
        match self.opener.nodes.in_random_order().first() {
            Some(node) => Refusal::explained(error, &node.uri, self.topology()),
            None => error,
        }
    }

    /// Counts the messages of the intake queue, the queue of dead letters and that of unrouted parcels, in this order.
    pub async fn queue_counts(&self, connection: &Connection) -> anyhow::Result<[QueueCount; 3]> {
        in_time(LIMIT, async {
            let channel = connection.create_channel().await?;
            let topology = self.topology();
            let counts = [
                count(&channel, topology.intake_queue()).await?,
                count(&channel, topology.dead_queue()).await?,
                count(&channel, topology.unrouted_queue()).await?,
            ];
            channel.close(200, "done".into()).await?;
            Ok(counts)
        })
        .await
    }

    /// Fails if the user of `AMQP_URL` may not publish to this exchange. Publishes nothing.
    pub async fn may_publish(&self, connection: &Connection, exchange: &str) -> anyhow::Result<()> {
        let checked = in_time(LIMIT, async { Ok(check_may_publish(connection, exchange).await?) }).await;
        checked.map_err(|error| self.explained(error))
    }

    /// Listens until every process that runs must have sent heartbeats, and returns the last one of each. Needs the same
    /// rights as an api instance.
    pub async fn heard(&self, connection: &Connection) -> anyhow::Result<Vec<Heartbeat>> {
        self.listen(connection).await.map_err(|error| self.explained(error))
    }

    async fn listen(&self, connection: &Connection) -> anyhow::Result<Vec<Heartbeat>> {
        let mut consumer = in_time(LIMIT, async {
            let channel = connection.create_channel().await?;
            let queue = self.topology().subscribe_to_settled(&channel).await?;
            self.topology().add_heartbeats(&channel, &queue).await?;
            Ok(consume(&channel, &queue, PREFETCH).await?)
        })
        .await?;
        let until = Instant::now() + SILENT_AFTER;
        let mut heard: HashMap<Uuid, (Heartbeat, Instant)> = HashMap::new();
        while let Ok(delivery) = timeout_at(until, consumer.next()).await {
            let delivery = delivery.context("the queue of heartbeats was deleted")??;
            // Announcements of outcomes and kinds of a newer version are no heartbeats.
            if let Ok(heartbeat) = Heartbeat::decode(&delivery.data) {
                heard.insert(heartbeat.process, (heartbeat, Instant::now()));
            }
            delivery.ack(BasicAckOptions::default()).await?;
        }
        // A process that has ended meanwhile has missed a heartbeat or two.
        let silent_since = until - 2 * HEARTBEAT_EVERY;
        let running = heard.into_values().filter(|(_, at)| *at > silent_since);
        let mut running: Vec<_> = running.map(|(heartbeat, _)| heartbeat).collect();
        running.sort_unstable_by_key(|heartbeat| heartbeat.process);
        Ok(running)
    }
}

async fn count(channel: &Channel, name: String) -> anyhow::Result<QueueCount> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(name.clone().into(), options, FieldTable::default()).await?;
    Ok(QueueCount { name, messages: queue.message_count(), consumers: queue.consumer_count() })
}
