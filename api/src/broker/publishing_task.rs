//! Publishes bookings to the intake queue, from one task that owns the channel.
//!
//! A lapin channel that several publishers share assigns confirms to the wrong messages, because it takes the delivery tag
//! and sends the frames under two locks. So handlers pass their envelopes to one task through a bounded channel.
//!
//! The task takes all envelopes that are waiting, publishes them as one parcel, and passes the parcel's confirm on to
//! the handlers. It never waits for a parcel to fill. At a low rate a parcel is one booking. In a rush, bookings
//! accumulate while confirms are outstanding, and parcels grow.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
#[cfg(feature = "faults")]
use hamro_shared::faults::{Safeguard, is_disabled};
use hamro_shared::queue::{
    self, BOOKINGS_HEADER, BrokerTask, Parcel, Refusals, Topology, check_confirmation,
    open_confirming_channel, properties,
};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Event};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::heartbeats::HeartbeatSender;
pub use super::heartbeats::{InstanceReporter, Reporter};
use super::publisher::{
    AcceptError, BrokerState, PublishRequest, Publisher, PublisherConfig, PublisherMetrics, Receipt,
    TaskChannels,
};
use super::release_announcer::QueuedReleases;
use super::side_channel::SideChannel;
use crate::outcomes::queue_estimate::QueueEstimate;

/// Limit on parcels whose confirm is outstanding: low enough for parcels to fill in a rush, high enough to keep the
/// broker busy.
const PARCELS_IN_FLIGHT: usize = 32;

/// How often to check that the broker still confirms.
const WATCHDOG_EVERY: Duration = Duration::from_millis(500);

/// The task that publishes what handlers request.
pub struct PublishingTask {
    pub(super) requests: mpsc::Receiver<PublishRequest>,
    pub(super) state: watch::Sender<BrokerState>,
    releases: QueuedReleases,
    topology: Topology,
    /// A connection on which no confirm arrives for this long is dropped.
    confirm_timeout: Duration,
    queue_estimate: QueueEstimate,
    /// Announced in the heartbeats.
    reporter: Reporter,
    metrics: PublisherMetrics,
}

/// What the broker said about a parcel.
enum Confirm {
    Stored,
    Refused,
}

/// The handlers' side of publishing, and the task that it needs.
pub fn publisher(
    config: PublisherConfig,
    topology: &Topology,
    queue_estimate: QueueEstimate,
    reporter: Reporter,
    metrics: PublisherMetrics,
) -> (Publisher, PublishingTask) {
    let (publisher, channels) = Publisher::new(config, queue_estimate.clone(), metrics.clone());
    let TaskChannels { requests, state, releases } = channels;
    let task = PublishingTask {
        requests,
        state,
        releases,
        topology: topology.clone(),
        confirm_timeout: config.confirm_timeout,
        queue_estimate,
        reporter,
        metrics,
    };
    (publisher, task)
}

impl BrokerTask for PublishingTask {
    const ROLE: &'static str = "publishing";
    const CONFIRMS: bool = true;

    fn publishes_to(&self) -> Vec<String> {
        vec![self.topology.bookings_exchange(), self.topology.heartbeats_exchange()]
    }

    async fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        _stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        self.state.send_replace(BrokerState::Up);
        let mut heartbeats = HeartbeatSender::new(
            connection,
            self.topology.heartbeats_exchange(),
            self.queue_estimate.clone(),
            self.reporter.clone(),
        );
        let releases = self.releases.clone();
        let mut announcements = SideChannel::new(connection, self.topology.settled_exchange());
        let result = tokio::select! {
            result = self.publish_all(connection, channel) => result,
            never = heartbeats.send_all() => match never {},
            never = releases.send_all(&mut announcements) => match never {},
        };
        self.state.send_replace(BrokerState::Down);
        self.fail_waiting();
        self.queue_estimate.on_publisher_lost();
        heartbeats.close().await;
        announcements.close().await;
        result
    }
}

impl PublishingTask {
    /// Publishes until all `Publisher`s are dropped and the last confirm has arrived.
    async fn publish_all(&mut self, connection: &Connection, channel: &Channel) -> anyhow::Result<()> {
        let mut events = connection.events_listener();
        let mut channel = channel.clone();
        let mut refusals = Refusals::default();
        let mut confirms = FuturesUnordered::new();
        let mut open = true;
        let mut last_progress = Instant::now();
        let mut watchdog = interval(WATCHDOG_EVERY);
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while open || !confirms.is_empty() {
            tokio::select! {
                biased;
                event = events.next() => {
                    self.on_connection_event(event.context("the connection was closed")?)?;
                    last_progress = Instant::now();
                }
                Some(confirm) = confirms.next() => {
                    last_progress = Instant::now();
                    match confirm? {
                        Confirm::Stored => refusals.on_confirmed(),
                        Confirm::Refused => refusals.on_refused(last_progress),
                    }
                    if refusals.call_for_another_channel(last_progress) && confirms.is_empty() {
                        channel = open_confirming_channel(connection).await?;
                        refusals = Refusals::default();
                    }
                }
                request = self.requests.recv(), if open && may_send(confirms.len(), &refusals) => match request {
                    Some(request) if *self.state.borrow() == BrokerState::Blocked => self.fail_unsent(request),
                    Some(request) => {
                        if confirms.is_empty() {
                            last_progress = Instant::now();
                        }
                        let (body, receipts) = self.fill_parcel(request);
                        confirms.push(self.send(channel.clone(), body, receipts));
                    }
                    None => open = false,
                },
                // A frozen broker does not close its connections. Once the connection is dropped, bookings are refused
                // at once instead of each after a timeout. A broker that blocks the connection may take longer.
                _ = watchdog.tick() => if !confirms.is_empty() && last_progress.elapsed() > self.confirm_timeout {
                    ensure!(*self.state.borrow() == BrokerState::Blocked, "the broker confirms nothing");
                },
            }
        }
        Ok(())
    }

    /// Tracks the state of the connection. Fails if it is lost.
    fn on_connection_event(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Error(error) => return Err(error.into()),
            Event::ConnectionBlocked(reason) => {
                warn!("the broker blocks the connection; bookings are refused: {reason}");
                self.state.send_replace(BrokerState::Blocked);
                self.fail_waiting();
            }
            Event::ConnectionUnblocked => {
                info!("the broker accepts messages again");
                self.state.send_replace(BrokerState::Up);
            }
            _ => {}
        }
        Ok(())
    }

    fn fail_waiting(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.fail_unsent(request);
        }
    }

    /// Responds to a request whose envelope has not been sent, and so is certainly not in the queue.
    fn fail_unsent(&self, request: PublishRequest) {
        self.queue_estimate.on_refused(1);
        request.receipt.send(Err(AcceptError::Unavailable));
    }

    /// Packs this request and the waiting ones into a parcel, as far as they fit.
    fn fill_parcel(&mut self, first: PublishRequest) -> (Vec<u8>, Vec<Receipt>) {
        let mut parcel = Parcel::default();
        let mut receipts = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            // Included even if its handler has stopped waiting: the client may know its ticket.
            parcel.push(&request.encoded_envelope);
            receipts.push(request.receipt);
            next = if parcel.is_full() { None } else { self.requests.try_recv().ok() };
        }
        (parcel.encode(), receipts)
    }

    /// Publishes a parcel and passes its confirm on to the handlers. An error means that the connection is unusable;
    /// the dropped receipts then report [`AcceptError::Unknown`].
    ///
    /// This is a separate future because even publishing waits while the broker blocks the connection. Its first poll
    /// takes the delivery tag and queues the frames, without yielding in between. One task polls all of these futures,
    /// so tags and frames have the same order.
    fn send(
        &self,
        channel: Channel,
        body: Vec<u8>,
        receipts: Vec<Receipt>,
    ) -> impl Future<Output = anyhow::Result<Confirm>> + use<> {
        let mut headers = FieldTable::default();
        let bookings = i32::try_from(receipts.len()).unwrap_or(i32::MAX);
        headers.insert(BOOKINGS_HEADER.into(), AMQPValue::LongInt(bookings));
        let properties = properties(headers);
        let (exchange, key) = (self.topology.bookings_exchange(), self.topology.intake_queue());
        let (queue_estimate, metrics) = (self.queue_estimate.clone(), self.metrics.clone());
        async move {
            let options = BasicPublishOptions::default();
            let confirm =
                channel.basic_publish(exchange.into(), key.into(), options, &body, properties).await?;
            let result = match check_confirmation(confirm.await.context("waiting for a confirm")?) {
                Ok(()) => Ok(()),
                #[cfg(feature = "faults")]
                Err(queue::PublishError::Refused) if is_disabled(Safeguard::Confirms) => Ok(()),
                Err(queue::PublishError::Refused) => Err(AcceptError::QueueFull),
                Err(error) => return Err(error.into()),
            };
            match result {
                Ok(()) => {
                    queue_estimate.on_confirmed(receipts.iter().map(|receipt| receipt.issued_at));
                    metrics.count_confirmed(receipts.iter().map(|receipt| receipt.requested_at));
                }
                Err(_) => queue_estimate.on_refused(receipts.len()),
            }
            for receipt in receipts {
                receipt.send(result);
            }
            Ok(if result.is_ok() { Confirm::Stored } else { Confirm::Refused })
        }
    }
}

/// Whether the channel takes another parcel. One that is to be replaced is first emptied.
fn may_send(parcels_in_flight: usize, refusals: &Refusals) -> bool {
    parcels_in_flight == 0
        || parcels_in_flight < PARCELS_IN_FLIGHT && !refusals.call_for_another_channel(Instant::now())
}
