//! Detects a broker that has silently stopped delivering.
//!
//! RabbitMQ sends `basic.cancel` when a consumed queue is deleted. 3.10 may omit it if the consumer subscribed a moment
//! earlier: the worker would wait forever and report itself ready. Either the broker no longer has the consumer, or the
//! redeclared queue still counts it and assigns it messages that never leave the broker. A client cannot detect the
//! second case; closing the channel returns those messages to the queue. Not seen with 4.0; remove this module once 3.x
//! is no longer supported.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Error, anyhow};
use lapin::Channel;
use lapin::options::QueueDeclareOptions;
use lapin::types::{DeliveryTag, FieldTable};
use tokio::time::{MissedTickBehavior, interval};

const CHECK_EVERY: Duration = Duration::from_secs(5);

/// After this many checks without a delivery the worker subscribes again, which costs next to nothing.
const IDLE_CHECKS: u32 = 3;

/// Why the consumer should be replaced.
#[derive(Debug)]
pub enum Stall {
    /// The broker does not deliver to this consumer.
    NotDelivering(Error),
    /// Nothing was delivered for a while. Most likely there are no bookings.
    Idle,
}

/// The last delivery that was received on a channel, and the last that was acknowledged.
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

    /// The tag of the last delivery, if everything received is acknowledged.
    fn last_tag_if_idle(&self) -> Option<DeliveryTag> {
        let last = self.received.load(Ordering::Relaxed);
        (last == self.acknowledged.load(Ordering::Relaxed)).then_some(last)
    }
}

/// Returns once the consumer of `queue` on this channel should be replaced.
pub async fn watch(channel: &Channel, queue: &str, progress: &DeliveryProgress) -> Stall {
    let mut checks = interval(CHECK_EVERY);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is immediate: too early to judge.
    checks.tick().await;
    let (mut starving_at_tag, mut idle_at_tag, mut idle_checks) = (None, None, 0);
    loop {
        checks.tick().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let state = match channel.queue_declare(queue.into(), options, FieldTable::default()).await {
            Ok(state) => state,
            // The prefetch task notices this too, unless its buffer is full.
            Err(error) if !channel.status().connected() => return Stall::NotDelivering(error.into()),
            Err(_) => continue,
        };
        if state.consumer_count() == 0 {
            return Stall::NotDelivering(anyhow!("the broker counts no consumer of {queue}"));
        }
        let (idle, waiting) = (progress.last_tag_if_idle(), state.message_count());
        let starving = idle.filter(|_| waiting > 0);
        if starving.is_some() && starving == starving_at_tag {
            let error = anyhow!("the broker delivers nothing although {waiting} messages wait in {queue}");
            return Stall::NotDelivering(error);
        }
        starving_at_tag = starving;
        idle_checks = if idle.is_some() && idle == idle_at_tag { idle_checks + 1 } else { 0 };
        if idle_checks == IDLE_CHECKS {
            return Stall::Idle;
        }
        idle_at_tag = idle;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_idle_only_when_everything_received_is_acknowledged() {
        let progress = DeliveryProgress::default();
        assert_eq!(progress.last_tag_if_idle(), Some(0));
        progress.received(3);
        assert_eq!(progress.last_tag_if_idle(), None);
        progress.acknowledged(2);
        assert_eq!(progress.last_tag_if_idle(), None);
        progress.acknowledged(3);
        assert_eq!(progress.last_tag_if_idle(), Some(3));
    }
}
