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

use super::{Gauge, Outcomes};
use crate::live_seats::LiveSeats;

/// How often the broker is asked for the length of the queue.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// After this long without a reply the connection is replaced.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);

/// Unacknowledged announcements that the broker may send. Each is a batch of up to some hundred outcomes.
const PREFETCH: u16 = 32;

pub struct Listener {
    topology: Topology,
    outcomes: Outcomes,
    gauge: Gauge,
    live_seats: LiveSeats,
}

impl Listener {
    pub fn new(topology: Topology, outcomes: Outcomes, gauge: Gauge, live_seats: LiveSeats) -> Self {
        Self { topology, outcomes, gauge, live_seats }
    }

    fn hear(&self, body: &[u8]) {
        match RawSettledEvent::decode(body) {
            Ok(settled) => {
                self.gauge.settled(&settled, Instant::now());
                self.live_seats.hear(&settled.tickets);
                self.outcomes.hear(settled.tickets);
            }
            Err(error) => warn!("cannot read what a worker announced: {error}"),
        }
    }
}

impl Session for Listener {
    const ROLE: &'static str = "listening";

    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        // Concurrently: announcements are received while the broker counts.
        let listening = try_join(self.listen(channel), self.count(channel));
        stop.run_until_cancelled(listening).await.map_or(Ok(()), |ended| ended.map(drop))
    }
}

impl Listener {
    /// Hears announcements until the queue has gone.
    async fn listen(&self, channel: &Channel) -> anyhow::Result<()> {
        let queue = self.topology.subscribe_to_settled(channel).await?;
        // Bounds what is buffered in memory here. Beyond its own limit, the broker's queue drops the oldest messages.
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        let mut messages =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        while let Some(message) = messages.next().await {
            let message = message?;
            self.hear(&message.data);
            message.ack(BasicAckOptions::default()).await?;
        }
        bail!("the queue of outcomes has gone")
    }

    /// Asks for the length of the queue, again and again.
    async fn count(&self, channel: &Channel) -> anyhow::Result<()> {
        let mut counts = interval(COUNT_EVERY);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            counts.tick().await;
            let counting = timeout(COUNT_TIMEOUT, self.topology.waiting_messages(channel));
            let messages = counting.await.context("the broker does not say how long the queue is")??;
            self.gauge.count(messages, Instant::now());
        }
    }
}
