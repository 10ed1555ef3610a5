//! Receives the announcements of settled tickets and of releases, and the heartbeats of all processes, and polls the length of
//! the queue.
//!
//! It has its own connection, so that outcomes still arrive while the broker blocks connections that publish.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use futures_util::future::try_join;
use hamro_shared::queue::{BrokerTask, Heartbeat, RawSettledEvent, Release, Topology, consume};
use lapin::options::BasicAckOptions;
use lapin::{Channel, Connection};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::catalogue_cache::CatalogueCache;
use crate::early_rejection::EarlyRejection;
use crate::installation::Installation;
use crate::intake::Intake;
use crate::outcomes::Outcomes;
use crate::outcomes::queue_estimate::QueueEstimate;
use crate::seat_feed::SeatFeed;

/// How often the length of the queue is queried.
const POLL_DEPTH_EVERY: Duration = Duration::from_secs(1);
/// After this long without a reply the connection is replaced.
const POLL_DEPTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit on unacknowledged announcements. Each contains up to a few hundred outcomes.
const PREFETCH: u16 = 32;

/// Passes what workers and other instances announce on to those that keep it in memory.
pub struct OutcomeSubscriber {
    pub topology: Topology,
    pub outcomes: Outcomes,
    pub queue_estimate: QueueEstimate,
    pub seat_feed: SeatFeed,
    pub catalogue: CatalogueCache,
    pub early_rejection: EarlyRejection,
    pub intake: Intake,
    pub installation: Installation,
}

impl OutcomeSubscriber {
    fn on_settled(&self, body: &[u8]) {
        match RawSettledEvent::decode(body) {
            Ok(announcement) => {
                self.queue_estimate.on_settled(&announcement);
                self.seat_feed.on_settled(&announcement.tickets);
                // Before the outcomes: a client that learns of its sale sees it in the catalogue, too.
                self.catalogue.note_sales();
                self.early_rejection.on_settled(&announcement.sales);
                self.outcomes.on_settled(announcement.tickets);
                for Release { tickets, seats } in announcement.releases {
                    self.seat_feed.on_released(&seats);
                    self.outcomes.on_released(tickets);
                }
            }
            Err(error) => warn!("ignored an unreadable announcement: {error}"),
        }
    }

    fn on_heartbeat(&self, body: &[u8]) {
        match Heartbeat::decode(body) {
            Ok(heartbeat) => {
                let now = Instant::now();
                self.intake.on_heartbeat(&heartbeat, now);
                self.installation.on_heartbeat(&heartbeat, now);
                self.queue_estimate.on_heartbeat(heartbeat, now);
            }
            Err(error) => debug!("ignored an unreadable heartbeat: {error}"),
        }
    }
}

impl BrokerTask for OutcomeSubscriber {
    const ROLE: &'static str = "subscribing";

    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        self.queue_estimate.start_over();
        let work = async {
            // First, so that a refusal is reported, and not that it has closed the channel.
            let messages = self.subscribe(channel).await?;
            self.intake.listens(true);
            self.installation.listens(true);
            // Concurrently, because a loaded broker may take long to report the queue's length.
            try_join(self.receive(messages), self.poll_depth(channel)).await
        };
        let result = stop.run_until_cancelled(work).await.map_or(Ok(()), |ended| ended.map(drop));
        self.intake.listens(false);
        self.installation.listens(false);
        self.queue_estimate.start_over();
        result
    }
}

impl OutcomeSubscriber {
    async fn subscribe(&self, channel: &Channel) -> anyhow::Result<lapin::Consumer> {
        let queue = self.topology.subscribe_to_settled(channel).await?;
        self.topology.add_heartbeats(channel, &queue).await?;
        // Limits what is buffered in this process. The broker's queue has its own limit and drops the oldest messages.
        Ok(consume(channel, &queue, PREFETCH).await?)
    }

    /// Receives announcements and heartbeats until the queue is deleted.
    async fn receive(&self, mut messages: lapin::Consumer) -> anyhow::Result<()> {
        let heartbeats = self.topology.heartbeats_exchange();
        while let Some(message) = messages.next().await {
            let message = message?;
            if message.exchange.as_str() == heartbeats {
                self.on_heartbeat(&message.data);
            } else {
                self.on_settled(&message.data);
            }
            message.ack(BasicAckOptions::default()).await?;
        }
        bail!("the queue of announcements was deleted")
    }

    async fn poll_depth(&self, channel: &Channel) -> anyhow::Result<()> {
        let mut ticks = interval(POLL_DEPTH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let query = timeout(POLL_DEPTH_TIMEOUT, self.topology.counted(channel));
            let counted = query.await.context("the broker does not report the length of the queue")??;
            self.queue_estimate.record_depth(counted, Instant::now());
        }
    }
}
