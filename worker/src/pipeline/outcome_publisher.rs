//! Announces settled batches to the api instances, and sends them the worker's heartbeats.
//!
//! Both take one channel, so an instance learns that a batch is settled before it learns that the worker no longer
//! holds it. It has its own connection: while the broker blocks publishers, nothing is written on their connections, and
//! acknowledgements must not wait.

use std::time::Duration;

use anyhow::Context;
use hamro_shared::queue::{
    BrokerTask, Heartbeat, HeartbeatSchedule, ProcessState, SettledEvent, Topology, WorkerState,
};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Connection};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use super::workload::Workload;
use crate::figures::figures;
use crate::metrics::WorkerMetrics;
use crate::readiness::Health;
use crate::settlement::batch_spans::AnnouncementSpans;

/// Batches that may wait to be announced. Announcements are hints: while the broker accepts none, further ones are
/// dropped.
const BACKLOG: usize = 256;

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(1);

/// Queues announcements.
#[derive(Clone)]
pub struct OutcomePublisher(mpsc::Sender<Announcement>);

type Announcement = (SettledEvent, AnnouncementSpans);

/// Sends the queued announcements, and heartbeats.
pub struct OutcomePublishingTask {
    receiver: mpsc::Receiver<Announcement>,
    topology: Topology,
    /// Identifies this process in its heartbeats.
    process: Uuid,
    workload: Workload,
    /// What the heartbeats report besides the workload.
    reported: Option<(WorkerMetrics, Health)>,
}

pub fn outcome_publisher(
    topology: &Topology,
    workload: Workload,
) -> (OutcomePublisher, OutcomePublishingTask) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let (topology, process) = (topology.clone(), Uuid::new_v4());
    (
        OutcomePublisher(sender),
        OutcomePublishingTask { receiver, topology, process, workload, reported: None },
    )
}

impl OutcomePublisher {
    /// Queues an announcement, or drops it if the queue is full. Never waits.
    pub fn publish(&self, announcement: SettledEvent, spans: AnnouncementSpans) {
        if let Err(error) = self.0.try_send((announcement, spans)) {
            let (_, spans) = error.into_inner();
            spans.fail("queue_full");
            debug!("outcome queue full; dropped one announcement");
        }
    }
}

impl BrokerTask for OutcomePublishingTask {
    const ROLE: &'static str = "announcing outcomes";

    fn publishes_to(&self) -> Vec<String> {
        vec![self.topology.settled_exchange(), self.topology.heartbeats_exchange()]
    }

    /// Sends announcements and heartbeats until all [`OutcomePublisher`]s are dropped.
    async fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        _stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let (settled, heartbeats) = (self.topology.settled_exchange(), self.topology.heartbeats_exchange());
        let mut schedule = HeartbeatSchedule::default();
        let (workload, reported) = (self.workload.clone(), self.reported.clone());
        let describe = || {
            let state = workload.state();
            let Some((metrics, health)) = &reported else { return state };
            WorkerState { not_ready: health.reasons(), figures: Some(figures(metrics)), ..state }
        };
        loop {
            tokio::select! {
                biased;
                announcement = self.receiver.recv() => match announcement {
                    Some((announcement, spans)) => {
                        let published = publish(channel, &settled, &announcement.encode()).await;
                        if let Err(error) = published {
                            spans.fail("unavailable");
                            return Err(error);
                        }
                    }
                    None => break,
                },
                // A heartbeat is not worth a new connection: while the broker blocks this one, none is sent.
                state = schedule.next(|| ProcessState::Worker(describe())) => {
                    if !connection.status().blocked() {
                        publish(channel, &heartbeats, &self.heartbeat(state)).await?;
                    }
                }
            }
        }
        let stopped = WorkerState { stopped: true, ..WorkerState::default() };
        publish(channel, &heartbeats, &self.heartbeat(ProcessState::Worker(stopped))).await
    }
}

impl OutcomePublishingTask {
    /// Reports these metrics and the readiness in the heartbeats.
    #[must_use]
    pub fn reporting(self, metrics: WorkerMetrics, health: Health) -> Self {
        Self { reported: Some((metrics, health)), ..self }
    }

    fn heartbeat(&self, state: ProcessState) -> Vec<u8> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Heartbeat { process: self.process, version, state }.encode()
    }
}

async fn publish(channel: &Channel, exchange: &str, body: &[u8]) -> anyhow::Result<()> {
    let properties = BasicProperties::default().with_content_type("application/json".into());
    let publishing =
        channel.basic_publish(exchange.into(), "".into(), BasicPublishOptions::default(), body, properties);
    // Would wait forever while the broker blocks publishers.
    timeout(PUBLISH_TIMEOUT, publishing).await.context("the broker accepts no announcements")??;
    Ok(())
}
