//! Hears from the workers what has been settled, on a connection of its own: while the broker blocks publishers,
//! outcomes still come in. It asks the broker for the length of the queue as well.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use hamro_shared::queue::{HeardMessage, Session, Topology};
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Gauge, Outcomes};
use crate::live_seats::LiveSeats;

/// How often the broker is asked for the length of the queue.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// A broker that does not answer for so long is given up. Meanwhile nothing is heard of it either.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);

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
        match HeardMessage::decode(body) {
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
        stop.run_until_cancelled(self.listen(channel)).await.unwrap_or(Ok(()))
    }
}

impl Listener {
    async fn listen(&self, channel: &Channel) -> anyhow::Result<()> {
        let queue = self.topology.listen_to_settled(channel).await?;
        // Hints need no acknowledgement: what is lost is looked up.
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let mut messages =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        let mut counts = interval(COUNT_EVERY);
        counts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.hear(&message?.data),
                    None => bail!("the queue of outcomes has gone"),
                },
                _ = counts.tick() => {
                    let counting = timeout(COUNT_TIMEOUT, self.topology.waiting_messages(channel));
                    let messages = counting.await.context("the broker does not say how long the queue is")??;
                    self.gauge.count(messages, Instant::now());
                }
            }
        }
    }
}
