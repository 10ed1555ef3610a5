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
    let mut checked = Checked::default();
    loop {
        checks.tick().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let state = match channel.queue_declare(queue.into(), options, FieldTable::default()).await {
            Ok(state) => state,
            // The prefetch task notices this too, unless its buffer is full.
            Err(error) if !channel.status().connected() => return Stall::NotDelivering(error.into()),
            Err(_) => continue,
        };
        if let Some(stall) = checked.judge(state.consumer_count(), state.message_count(), progress) {
            return stall;
        }
    }
}

/// What earlier checks have found.
#[derive(Default)]
struct Checked {
    /// The last delivery when the broker counted neither consumers nor messages.
    unlisted_at: Option<DeliveryTag>,
    /// The last delivery when the worker was idle although messages waited.
    starving_at: Option<DeliveryTag>,
    idle_at: Option<DeliveryTag>,
    idle_checks: u32,
}

impl Checked {
    /// Whether the consumer should be replaced, by what the broker counts now.
    ///
    /// A quorum queue whose leader does not respond to the broker within 250 ms is reported as having no messages and no
    /// consumers. On a broker that is busy this is not rare, and replacing the consumer returns all that it holds.
    fn judge(&mut self, consumers: u32, waiting: u32, progress: &DeliveryProgress) -> Option<Stall> {
        let received = progress.received.load(Ordering::Relaxed);
        let unlisted = (consumers == 0).then_some(received);
        if unlisted.is_some() && (waiting > 0 || unlisted == self.unlisted_at) {
            return Some(Stall::NotDelivering(anyhow!("the broker counts no consumer")));
        }
        self.unlisted_at = unlisted;
        if unlisted.is_some() {
            return None;
        }
        let idle = progress.last_tag_if_idle();
        let starving = idle.filter(|_| waiting > 0);
        if starving.is_some() && starving == self.starving_at {
            let error = anyhow!("the broker delivers nothing although {waiting} messages wait");
            return Some(Stall::NotDelivering(error));
        }
        self.starving_at = starving;
        self.idle_checks = if idle.is_some() && idle == self.idle_at { self.idle_checks + 1 } else { 0 };
        self.idle_at = idle;
        (self.idle_checks == IDLE_CHECKS).then_some(Stall::Idle)
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

    #[test]
    fn a_broker_that_counts_nothing_is_believed_only_if_it_delivers_nothing_either() {
        let (mut checked, progress) = (Checked::default(), DeliveryProgress::default());
        for received in [5, 9, 12] {
            progress.received(received);
            assert!(checked.judge(0, 0, &progress).is_none(), "{received}");
        }
        assert!(checked.judge(1, 0, &progress).is_none(), "it counts again");
        assert!(checked.judge(0, 0, &progress).is_none(), "the first time");
        assert!(matches!(checked.judge(0, 0, &progress), Some(Stall::NotDelivering(_))));
    }

    #[test]
    fn messages_without_a_consumer_are_believed_at_once() {
        let (mut checked, progress) = (Checked::default(), DeliveryProgress::default());
        assert!(matches!(checked.judge(0, 3, &progress), Some(Stall::NotDelivering(_))));
    }

    #[test]
    fn a_consumer_that_gets_nothing_is_replaced_soon_if_messages_wait_and_later_if_none_do() {
        let (mut checked, progress) = (Checked::default(), DeliveryProgress::default());
        assert!(checked.judge(1, 7, &progress).is_none());
        assert!(matches!(checked.judge(1, 7, &progress), Some(Stall::NotDelivering(_))));
        let mut checked = Checked::default();
        for _ in 0..IDLE_CHECKS {
            assert!(checked.judge(1, 0, &progress).is_none());
        }
        assert!(matches!(checked.judge(1, 0, &progress), Some(Stall::Idle)));
    }
}
