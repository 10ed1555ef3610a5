//! A consumer that the broker has forgotten without a word.
//!
//! Who consumes from a queue that is deleted is told so. RabbitMQ 3.10 does not always tell who has begun a moment before:
//! either it knows of no consumer any more, or it counts one and delivers nothing. Then a worker would wait for ever, and
//! believe that all is well.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Error, anyhow};
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{DeliveryTag, FieldTable};
use tokio::time::{MissedTickBehavior, interval};

/// How often to ask the broker.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// The last deliveries on a channel: that came, and that were acknowledged.
#[derive(Debug, Default)]
pub struct Progress {
    received: AtomicU64,
    acknowledged: AtomicU64,
}

impl Progress {
    pub fn received(&self, last: DeliveryTag) {
        self.received.store(last, Ordering::Relaxed);
    }

    pub fn acknowledged(&self, last: DeliveryTag) {
        self.acknowledged.store(last, Ordering::Relaxed);
    }

    /// The last delivery, if nothing is in hand.
    fn idle_since(&self) -> Option<DeliveryTag> {
        let last = self.received.load(Ordering::Relaxed);
        (last == self.acknowledged.load(Ordering::Relaxed)).then_some(last)
    }
}

/// Returns once the broker has forgotten whoever consumes from this queue on the channel, with what speaks for it.
pub async fn forgotten(channel: &Channel, queue: &str, progress: &Progress) -> Error {
    let mut asks = interval(ASK_EVERY);
    asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, and too early.
    asks.tick().await;
    let mut hungry_since = None;
    loop {
        asks.tick().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        // A channel that has failed is noticed by who works on it.
        let Ok(state) = channel.queue_declare(queue.into(), options, FieldTable::default()).await else {
            continue;
        };
        if state.consumer_count() == 0 {
            return anyhow!("the broker knows of nobody who consumes from {queue}");
        }
        let waiting = state.message_count();
        let hungry = progress.idle_since().filter(|_| waiting > 0);
        if hungry.is_some() && hungry == hungry_since {
            return anyhow!("the broker delivers nothing, although {waiting} messages wait in {queue}");
        }
        hungry_since = hungry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_something_in_hand_is_not_idle() {
        let progress = Progress::default();
        assert_eq!(progress.idle_since(), Some(0));
        progress.received(3);
        assert_eq!(progress.idle_since(), None);
        progress.acknowledged(2);
        assert_eq!(progress.idle_since(), None);
        progress.acknowledged(3);
        assert_eq!(progress.idle_since(), Some(3));
    }
}
