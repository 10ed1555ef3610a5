//! Publishes bookings to the intake queue, from one task that owns the channel.
//!
//! A booking is accepted when the broker confirms it. A lapin channel that several publishers share assigns confirms to
//! the wrong messages, because it takes the delivery tag and sends the frames under two locks. So handlers pass their
//! envelopes to one task through a bounded channel.
//!
//! The task takes all envelopes that are waiting, publishes them as one parcel, and passes the parcel's confirm on to
//! the handlers. It never waits for a parcel to fill. At a low rate a parcel is one booking. In a rush, bookings
//! accumulate while confirms are outstanding, and parcels grow.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use hamro_shared::config::Env;
#[cfg(feature = "faults")]
use hamro_shared::faults::{Safeguard, is_disabled};
use hamro_shared::queue::{
    self, BOOKINGS_HEADER, BrokerTask, Envelope, Parcel, Topology, check_confirmation, properties,
};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, Event};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Limit on parcels whose confirm is outstanding: low enough for parcels to fill in a rush, high enough to keep the
/// broker busy.
const PARCELS_IN_FLIGHT: usize = 32;

/// How often to check that the broker still confirms.
const WATCHDOG_EVERY: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
pub struct PublisherConfig {
    /// The maximum number of bookings that wait for the publishing task. It does not count those that are published and
    /// wait for confirms: up to 32 parcels of up to 64 bookings.
    pub waiting_max: NonZeroUsize,
    /// How long to wait for the broker's confirm.
    pub confirm_timeout: Duration,
}

impl PublisherConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let waiting_max = env
            .variable(
                "PUBLISH_IN_FLIGHT_MAX",
                "Limit on the bookings that wait for the publishing task. Above it, bookings are refused with 503.",
                "a number such as 10000",
            )
            .or_default("10000");
        let confirm_timeout: Option<Duration> = env
            .variable(
                "CONFIRM_TIMEOUT",
                "How long to wait until the broker confirms a booking. At most 10 s.",
                "a duration such as 5s",
            )
            .or_default("5s");
        if confirm_timeout.is_some_and(|timeout| timeout.is_zero() || timeout > Duration::from_secs(10)) {
            env.record_error("CONFIRM_TIMEOUT should be more than 0 and at most 10s");
        }
        Some(Self { waiting_max: waiting_max?, confirm_timeout: confirm_timeout? })
    }
}

/// Why a booking was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// Not sent: too many bookings are waiting to be published.
    #[error("too many bookings are waiting to be published")]
    Busy,
    /// Not sent: there is no connection to the broker, or the broker blocks it.
    #[error("the broker is unreachable or accepts no messages")]
    Unavailable,
    /// Not in the queue, which is full: by this instance's estimate of its length, or by the broker's nack.
    #[error("the broker refused the booking")]
    QueueFull,
    /// Sent, but not confirmed: the booking may be in the queue.
    #[error("the broker did not confirm the booking")]
    Unknown,
}

/// Whether the broker accepts messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerState {
    Down,
    Up,
    /// The broker is short of memory or disk and does not read from connections that publish.
    Blocked,
}

/// The handlers' side of the publishing task.
#[derive(Clone)]
pub struct Publisher {
    requests: mpsc::Sender<PublishRequest>,
    state: watch::Receiver<BrokerState>,
    confirm_timeout: Duration,
}

/// An encoded envelope, and the handler that waits for its confirm.
pub(super) struct PublishRequest {
    encoded_envelope: Vec<u8>,
    pub(super) receipt: Receipt,
}

type Receipt = oneshot::Sender<Result<(), AcceptError>>;

impl PublishRequest {
    /// Responds to a request whose envelope has not been sent, and so is certainly not in the queue.
    fn fail_unsent(self) {
        // Fails if the handler has stopped waiting.
        let _ = self.receipt.send(Err(AcceptError::Unavailable));
    }
}

/// The task that publishes what handlers request.
pub struct PublishingTask {
    pub(super) requests: mpsc::Receiver<PublishRequest>,
    pub(super) state: watch::Sender<BrokerState>,
    exchange: String,
    routing_key: String,
    /// A connection on which no confirm arrives for this long is dropped.
    confirm_timeout: Duration,
}

pub fn publisher(config: PublisherConfig, topology: &Topology) -> (Publisher, PublishingTask) {
    let (sender, requests) = mpsc::channel(config.waiting_max.get());
    let (state, state_receiver) = watch::channel(BrokerState::Down);
    let publisher =
        Publisher { requests: sender, state: state_receiver, confirm_timeout: config.confirm_timeout };
    let (exchange, routing_key) = (topology.bookings_exchange(), topology.intake_queue());
    (
        publisher,
        PublishingTask { requests, state, exchange, routing_key, confirm_timeout: config.confirm_timeout },
    )
}

impl Publisher {
    /// Whether the broker currently accepts messages.
    pub fn is_up(&self) -> bool {
        *self.state.borrow() == BrokerState::Up
    }

    /// Publishes the booking. `Ok` means that the broker has confirmed that it is stored.
    pub async fn publish(&self, envelope: Envelope) -> Result<(), AcceptError> {
        if !self.is_up() {
            return Err(AcceptError::Unavailable);
        }
        let (receipt, confirmed) = oneshot::channel();
        let request = PublishRequest { encoded_envelope: envelope.encode(), receipt };
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AcceptError::Busy,
            mpsc::error::TrySendError::Closed(_) => AcceptError::Unavailable,
        })?;
        match tokio::time::timeout(self.confirm_timeout, confirmed).await {
            Ok(Ok(result)) => result,
            // The confirm is late, or the connection was lost before it arrived.
            Ok(Err(_)) | Err(_) => Err(AcceptError::Unknown),
        }
    }
}

impl BrokerTask for PublishingTask {
    const ROLE: &'static str = "publishing";

    fn publishes_to(&self) -> Option<&str> {
        Some(&self.exchange)
    }

    async fn run(
        &mut self,
        connection: &Connection,
        channel: &Channel,
        _stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        self.state.send_replace(BrokerState::Up);
        let result = self.publish_all(channel, connection.events_listener()).await;
        self.state.send_replace(BrokerState::Down);
        self.fail_waiting();
        result
    }
}

impl PublishingTask {
    /// Publishes until all `Publisher`s are dropped and the last confirm has arrived.
    async fn publish_all(
        &mut self,
        channel: &Channel,
        mut events: impl Stream<Item = Event> + Unpin,
    ) -> anyhow::Result<()> {
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
                    confirm?;
                    last_progress = Instant::now();
                }
                request = self.requests.recv(), if open && confirms.len() < PARCELS_IN_FLIGHT => match request {
                    Some(request) if *self.state.borrow() == BrokerState::Blocked => request.fail_unsent(),
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
            request.fail_unsent();
        }
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
    ) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let mut headers = FieldTable::default();
        let bookings = i32::try_from(receipts.len()).unwrap_or(i32::MAX);
        headers.insert(BOOKINGS_HEADER.into(), AMQPValue::LongInt(bookings));
        let properties = properties(headers);
        let (exchange, key) = (self.exchange.as_str().into(), self.routing_key.as_str().into());
        async move {
            let options = BasicPublishOptions::default();
            let confirm = channel.basic_publish(exchange, key, options, &body, properties).await?;
            let result = match check_confirmation(confirm.await.context("waiting for a confirm")?) {
                Ok(()) => Ok(()),
                #[cfg(feature = "faults")]
                Err(queue::PublishError::Refused) if is_disabled(Safeguard::Confirms) => Ok(()),
                Err(queue::PublishError::Refused) => Err(AcceptError::QueueFull),
                Err(error) => return Err(error.into()),
            };
            for receipt in receipts {
                // Fails if the handler has stopped waiting.
                let _ = receipt.send(result);
            }
            Ok(())
        }
    }
}
