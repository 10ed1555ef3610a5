//! A consumer that the broker has forgotten without a word.
//!
//! Who consumes from a queue that is deleted is told so. RabbitMQ 3.10 does not always tell who has begun a moment before, and
//! then a worker would wait for ever, and believe that all is well. Sometimes the broker knows of no consumer any more. Sometimes
//! the queue that was made anew still counts one, and hands it messages which never leave the broker: of those a client sees
//! nothing, and finds them only by giving back all that it was handed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Error, anyhow};
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{DeliveryTag, FieldTable};
use tokio::time::{MissedTickBehavior, interval};

/// How often to ask the broker.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// After so many asks with nothing received, a consumer is better begun anew: it costs next to nothing.
const IDLE_CHECKS: u32 = 3;

/// What speaks against waiting any longer.
#[derive(Debug)]
pub enum Stall {
    /// The broker does not deliver to us.
    NotDelivering(Error),
    /// Nothing has come for a while. Most likely nobody books.
    Idle,
}

/// The last deliveries on a channel: that came, and that were acknowledged.
#[derive(Debug, Default)]
pub struct DeliveryProgress {
    received: AtomicU64,
    acknowledged: AtomicU64,
}

impl DeliveryProgress {
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

/// Returns once there is reason to doubt that the broker delivers to whoever consumes from this queue on the channel.
pub async fn watch(channel: &Channel, queue: &str, progress: &DeliveryProgress) -> Stall {
    let mut checks = interval(CHECK_EVERY);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first is at once, and too early.
    checks.tick().await;
    let (mut starving_since, mut idle_since, mut idle_checks) = (None, None, 0);
    loop {
        checks.tick().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let state = match channel.queue_declare(queue.into(), options, FieldTable::default()).await {
            Ok(state) => state,
            // Who receives notices that too, unless it waits for room and so does not look.
            Err(error) if !channel.status().connected() => return Stall::NotDelivering(error.into()),
            Err(_) => continue,
        };
        if state.consumer_count() == 0 {
            return Stall::NotDelivering(anyhow!("the broker knows of nobody who consumes from {queue}"));
        }
        let (idle, waiting) = (progress.idle_since(), state.message_count());
        let starving = idle.filter(|_| waiting > 0);
        if starving.is_some() && starving == starving_since {
            let error = anyhow!("the broker delivers nothing, although {waiting} messages wait in {queue}");
            return Stall::NotDelivering(error);
        }
        starving_since = starving;
        idle_checks = if idle.is_some() && idle == idle_since { idle_checks + 1 } else { 0 };
        if idle_checks == IDLE_CHECKS {
            return Stall::Idle;
        }
        idle_since = idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_something_in_hand_is_not_idle() {
        let progress = DeliveryProgress::default();
        assert_eq!(progress.idle_since(), Some(0));
        progress.received(3);
        assert_eq!(progress.idle_since(), None);
        progress.acknowledged(2);
        assert_eq!(progress.idle_since(), None);
        progress.acknowledged(3);
        assert_eq!(progress.idle_since(), Some(3));
    }
}
