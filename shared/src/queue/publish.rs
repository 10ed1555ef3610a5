//! One message put into one queue, and the broker's word that it is there. For whoever has few messages and must know of
//! each; the intake, which has many, pipelines its own.

use lapin::options::BasicPublishOptions;
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation};

/// AMQP's "store it": without it a durable queue would lose the message in a restart.
const PERSISTENT: u8 = 2;

/// Why a message is not known to be in its queue.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The queue has no room for it. Try again later.
    #[error("the broker refused the message: the queue is full")]
    Refused,
    /// Somebody has deleted the queue. A new connection declares it again.
    #[error("the queue does not exist")]
    NoQueue,
    /// It may be in the queue, or not.
    #[error("the broker did not confirm the message")]
    Unknown(#[source] lapin::Error),
    /// The channel is not in confirm mode: a mistake of ours.
    #[error("no confirm was asked for")]
    Unconfirmed,
}

/// Puts a message into `queue`. The channel is in confirm mode, and nobody else publishes on it, so that what is returned
/// belongs to this message.
pub async fn publish_confirmed(
    channel: &Channel,
    queue: &str,
    body: &[u8],
    headers: FieldTable,
) -> Result<(), PublishError> {
    // By the default exchange, which knows every queue by its name, and says so if there is none.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_headers(headers);
    let confirm = channel
        .basic_publish("".into(), queue.into(), options, body, properties)
        .await
        .map_err(PublishError::Unknown)?;
    match confirm.await.map_err(PublishError::Unknown)? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => Err(PublishError::NoQueue),
        Confirmation::Nack(_) => Err(PublishError::Refused),
        Confirmation::NotRequested => Err(PublishError::Unconfirmed),
    }
}
