//! Publishes messages that survive a restart of the broker.

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, Consumer};

/// AMQP's delivery mode for messages that are stored on disk. Even a durable queue loses other messages in a restart.
const PERSISTENT: u8 = 2;

/// Why it is not certain that a message is in its queue.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The queue is full, or the channel must be replaced: see [`ConfirmingChannel`](super::ConfirmingChannel). Try again
    /// later.
    #[error("the broker refused the message: the queue is full")]
    Refused,
    /// The queue was deleted. A new connection declares it again.
    #[error("the queue does not exist")]
    NoQueue,
    /// The message may or may not be in the queue.
    #[error("the broker did not confirm the message")]
    Unknown(#[source] lapin::Error),
    /// Nothing was sent, because no channel could be opened.
    #[error("cannot open a channel")]
    NoChannel(#[source] anyhow::Error),
    /// The channel is not in confirm mode, which is a bug.
    #[error("the channel is not in confirm mode")]
    Unconfirmed,
}

/// The properties of a persistent JSON message.
pub fn properties(headers: FieldTable) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_headers(headers)
}

/// Whether the broker has stored the message. `NoQueue` is possible only for a message that was published as
/// `mandatory`.
pub fn check_confirmation(confirmation: Confirmation) -> Result<(), PublishError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => Err(PublishError::NoQueue),
        Confirmation::Nack(_) => Err(PublishError::Refused),
        Confirmation::NotRequested => Err(PublishError::Unconfirmed),
    }
}

/// Publishes one message to `queue` and waits for the confirm. The channel must be in confirm mode, and no other task
/// may publish on it, so that a confirm or a returned message belongs to this message. The api, which has many
/// messages, pipelines them instead.
pub async fn publish_confirmed(
    channel: &Channel,
    queue: &str,
    body: &[u8],
    headers: FieldTable,
) -> Result<(), PublishError> {
    // The default exchange routes to every queue by its name. `mandatory` makes the broker report a missing queue.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = channel
        .basic_publish("".into(), queue.into(), options, body, properties(headers))
        .await
        .map_err(PublishError::Unknown)?;
    check_confirmation(confirm.await.map_err(PublishError::Unknown)?)
}

/// Fails if the user may not publish to this exchange. Publishes nothing: RabbitMQ checks the right at once, and the
/// transaction is rolled back.
pub async fn check_may_publish(connection: &Connection, exchange: &str) -> Result<(), lapin::Error> {
    let channel = connection.create_channel().await?;
    // lapin tells a consumer why RabbitMQ has closed its channel. Later operations only fail because it is closed.
    let mut consumer = consume_nothing(&channel).await?;
    channel.tx_select().await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let published = channel.basic_publish(exchange.into(), "".into(), options, &[], properties).await;
    let rolled_back = match published {
        Ok(_) => channel.tx_rollback().await,
        Err(error) => Err(error),
    };
    if let Err(error) = rolled_back {
        return Err(match consumer.next().await {
            Some(Err(reason)) => reason,
            _ => error,
        });
    }
    channel.close(200, "done".into()).await
}

/// Consumes the pseudo-queue for replies, which needs no right and exists everywhere.
async fn consume_nothing(channel: &Channel) -> Result<Consumer, lapin::Error> {
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    channel.basic_consume("amq.rabbitmq.reply-to".into(), "".into(), options, FieldTable::default()).await
}
