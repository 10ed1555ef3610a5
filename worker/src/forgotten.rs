//! A consumer that the broker has forgotten without a word.
//!
//! Who consumes from a queue that is deleted is told so. RabbitMQ 3.10 does not always tell who has begun a moment before, and
//! then a worker would wait for ever for a queue that has gone, and believe that all is well.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Error};
use tokio::time::{MissedTickBehavior, interval};

/// How often to ask the broker.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Returns once the broker knows of nobody who consumes from the queue.
pub async fn forgotten(channel: &Channel, queue: &str) {
    let mut asks = interval(ASK_EVERY);
    asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, and too early.
    asks.tick().await;
    loop {
        asks.tick().await;
        // A channel that has failed is noticed by who works on it.
        if matches!(consumers(channel, queue).await, Ok(0)) {
            return;
        }
    }
}

async fn consumers(channel: &Channel, queue: &str) -> Result<u32, Error> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare(queue.into(), options, FieldTable::default()).await?.consumer_count())
}
