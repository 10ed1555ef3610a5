//! Hears from the workers what has been settled, on a connection of its own: while the broker blocks publishers,
//! outcomes still come in. It asks the broker for the length of the queue as well.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use futures_util::future::try_join;
use hamro_shared::queue::{RawSettledEvent, Session, Topology};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::outcomes::Outcomes;
use crate::outcomes::queue_estimate::QueueEstimate;
use crate::seat_feed::SeatFeed;

/// How often the broker is asked for the length of the queue.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// After this long without a reply the connection is replaced.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);

/// Unacknowledged announcements that the broker may send. Each is a batch of up to some hundred outcomes.
const PREFETCH: u16 = 32;

pub struct OutcomeSubscriber {
    topology: Topology,
    outcomes: Outcomes,
    queue_estimate: QueueEstimate,
    seat_feed: SeatFeed,
}

impl OutcomeSubscriber {
    pub fn new(
        topology: Topology,
        outcomes: Outcomes,
        queue_estimate: QueueEstimate,
        seat_feed: SeatFeed,
    ) -> Self {
        Self { topology, outcomes, queue_estimate, seat_feed }
    }

    fn on_settled(&self, body: &[u8]) {
        match RawSettledEvent::decode(body) {
            Ok(settled) => {
                self.queue_estimate.settled(&settled, Instant::now());
                self.seat_feed.on_settled(&settled.tickets);
                self.outcomes.on_settled(settled.tickets);
            }
            Err(error) => warn!("cannot read what a worker announced: {error}"),
        }
    }
}

impl Session for OutcomeSubscriber {
    const ROLE: &'static str = "listening";

    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        // Concurrently: announcements are received while the broker counts.
        let listening = try_join(self.consume(channel), self.poll_depth(channel));
        stop.run_until_cancelled(listening).await.map_or(Ok(()), |ended| ended.map(drop))
    }
}

impl OutcomeSubscriber {
    /// Hears announcements until the queue has gone.
    async fn consume(&self, channel: &Channel) -> anyhow::Result<()> {
        let queue = self.topology.subscribe_to_settled(channel).await?;
        // Bounds what is buffered in memory here. Beyond its own limit, the broker's queue drops the oldest messages.
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let mut messages =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            self.on_settled(&message.data);
            message.ack(BasicAckOptions::default()).await?;
        }
        bail!("the queue of outcomes has gone")
    }

    /// Asks for the length of the queue, again and again.
    async fn poll_depth(&self, channel: &Channel) -> anyhow::Result<()> {
        let mut counts = interval(COUNT_EVERY);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            counts.tick().await;
            let counting = timeout(COUNT_TIMEOUT, self.topology.waiting_messages(channel));
            let messages = counting.await.context("the broker does not say how long the queue is")??;
            self.queue_estimate.record_depth(messages, Instant::now());
        }
    }
}
