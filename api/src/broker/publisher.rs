//! The one task that owns the publishing channel.
//!
//! A lapin channel that several publishers share gives confirms to the wrong messages (it takes the delivery tag and
//! sends the frames under two locks), and a confirm is our receipt. So handlers hand their envelopes to one task
//! through a bounded channel. It takes what is waiting in that moment, publishes it as one parcel and lets the
//! confirm of the parcel answer everybody in it. It never lingers: when it is quiet a parcel is one booking, and in a
//! rush, when confirms are outstanding, bookings pile up behind them and parcels grow by themselves.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use hamro_shared::config::Env;
#[cfg(feature = "faults")]
use hamro_shared::faults::{Safeguard, is_disabled};
use hamro_shared::queue::{BOOKINGS_HEADER, Envelope, Parcel, Session, Topology};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, Event};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Parcels whose confirm is outstanding. Few enough for parcels to fill in a rush, many enough to keep the broker busy.
const PARCELS_IN_FLIGHT: usize = 32;

/// How often to look whether the broker still confirms.
const WATCHDOG_EVERY: Duration = Duration::from_millis(500);

/// AMQP's "store it": without it a durable queue would lose the message in a restart.
const PERSISTENT: u8 = 2;

#[derive(Clone, Copy, Debug)]
pub struct PublisherConfig {
    /// Bookings that may wait for the publishing task; up to 32 parcels of up to 64 are on their way besides.
    pub in_flight_max: NonZeroUsize,
    /// How long to wait for the broker's confirm.
    pub confirm_timeout: Duration,
}

impl PublisherConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        const IN_FLIGHT_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("is not zero");
        let in_flight_max = env.or(
            "PUBLISH_IN_FLIGHT_MAX",
            IN_FLIGHT_MAX,
            "the most bookings on their way to the broker, such as 10000",
        );
        let confirm_timeout = env.or("CONFIRM_TIMEOUT", Duration::from_secs(5), "a duration such as 5s");
        if confirm_timeout.is_some_and(|timeout| timeout.is_zero() || timeout > Duration::from_secs(10)) {
            env.fault("CONFIRM_TIMEOUT is not between 0 and 10 s: it should be a duration such as 5s");
        }
        Some(Self { in_flight_max: in_flight_max?, confirm_timeout: confirm_timeout? })
    }
}

/// Why a booking was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Nothing was sent, as too many bookings are on their way already.
    #[error("too many bookings are on their way to the broker")]
    Busy,
    /// Nothing was sent, as there is no broker to send it to.
    #[error("the broker cannot be reached, or takes no messages")]
    Unavailable,
    /// The broker refused it: the queue is full.
    #[error("the broker refused the booking")]
    Refused,
    /// It was sent, and no answer came: it may be in the queue.
    #[error("the broker did not confirm the booking")]
    Unknown,
}

/// Whether the broker takes messages from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerState {
    Down,
    Up,
    /// The broker is short of memory or disk: it reads nothing that we write.
    Blocked,
}

/// A handler's way to the queue.
#[derive(Clone)]
pub struct Publisher {
    requests: mpsc::Sender<PublishRequest>,
    state: watch::Receiver<BrokerState>,
    confirm_timeout: Duration,
}

/// An encoded envelope, and who waits for its confirm.
pub(super) struct PublishRequest {
    envelope: Vec<u8>,
    pub(super) receipt: Receipt,
}

type Receipt = oneshot::Sender<Result<(), PublishError>>;

impl PublishRequest {
    /// What has not been sent is known not to be in the queue.
    fn reject(self) {
        // Whoever has stopped waiting needs no answer.
        let _ = self.receipt.send(Err(PublishError::Unavailable));
    }
}

/// The task on the other side.
pub struct PublishingTask {
    pub(super) requests: mpsc::Receiver<PublishRequest>,
    pub(super) state: watch::Sender<BrokerState>,
    exchange: String,
    routing_key: String,
    /// A connection on which no confirm has come for so long is of no use.
    confirm_timeout: Duration,
}

pub fn publisher(config: PublisherConfig, topology: &Topology) -> (Publisher, PublishingTask) {
    let (sender, requests) = mpsc::channel(config.in_flight_max.get());
    let (state, state_receiver) = watch::channel(BrokerState::Down);
    let publisher =
        Publisher { requests: sender, state: state_receiver, confirm_timeout: config.confirm_timeout };
    let (exchange, routing_key) = (topology.bookings(), topology.intake());
    (
        publisher,
        PublishingTask { requests, state, exchange, routing_key, confirm_timeout: config.confirm_timeout },
    )
}

impl Publisher {
    /// Whether the broker takes messages at this moment.
    pub fn is_up(&self) -> bool {
        *self.state.borrow() == BrokerState::Up
    }

    /// Puts the booking into the queue. `Ok` is the broker's own word that it is stored.
    pub async fn publish(&self, envelope: Envelope) -> Result<(), PublishError> {
        if !self.is_up() {
            return Err(PublishError::Unavailable);
        }
        let (receipt, confirmed) = oneshot::channel();
        let request = PublishRequest { envelope: envelope.encode(), receipt };
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Busy,
            mpsc::error::TrySendError::Closed(_) => PublishError::Unavailable,
        })?;
        match tokio::time::timeout(self.confirm_timeout, confirmed).await {
            Ok(Ok(result)) => result,
            // The time is up, or the connection was lost with the parcel on it.
            Ok(Err(_)) | Err(_) => Err(PublishError::Unknown),
        }
    }
}

impl Session for PublishingTask {
    const ROLE: &'static str = "publishing";

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
        self.reject_waiting();
        result
    }
}

impl PublishingTask {
    /// Publishes until there is nobody left who could want to, and the last confirm is in.
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
                    self.on_connection_event(event.context("the connection has gone")?)?;
                    last_progress = Instant::now();
                }
                Some(confirm) = confirms.next() => {
                    confirm?;
                    last_progress = Instant::now();
                }
                request = self.requests.recv(), if open && confirms.len() < PARCELS_IN_FLIGHT => match request {
                    Some(request) if *self.state.borrow() == BrokerState::Blocked => request.reject(),
                    Some(request) => {
                        if confirms.is_empty() {
                            last_progress = Instant::now();
                        }
                        let (body, receipts) = self.fill_parcel(request);
                        confirms.push(self.send(channel.clone(), body, receipts));
                    }
                    None => open = false,
                },
                // A broker that is frozen closes nothing and says nothing. Without the connection everybody is told at once
                // that there is no broker; with it, each in turn after a time-out. One that blocks us has said so.
                _ = watchdog.tick() => if !confirms.is_empty() && last_progress.elapsed() > self.confirm_timeout {
                    ensure!(*self.state.borrow() == BrokerState::Blocked, "the broker confirms nothing");
                },
            }
        }
        Ok(())
    }

    /// Follows what the connection says of itself; an error if it is lost.
    fn on_connection_event(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Error(error) => return Err(error.into()),
            Event::ConnectionBlocked(reason) => {
                warn!("the broker takes no messages: {reason}");
                self.state.send_replace(BrokerState::Blocked);
                self.reject_waiting();
            }
            Event::ConnectionUnblocked => {
                info!("the broker takes messages again");
                self.state.send_replace(BrokerState::Up);
            }
            _ => {}
        }
        Ok(())
    }

    fn reject_waiting(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            request.reject();
        }
    }

    /// A parcel of this job and of what else is waiting.
    fn fill_parcel(&mut self, first: PublishRequest) -> (Vec<u8>, Vec<Receipt>) {
        let mut parcel = Parcel::default();
        let mut receipts = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            // Sent even if nobody waits for it any more: a client that hung up may have been told its ticket already.
            parcel.push(&request.envelope);
            receipts.push(request.receipt);
            next = if parcel.is_full() { None } else { self.requests.try_recv().ok() };
        }
        (parcel.encode(), receipts)
    }

    /// Publishes a parcel, and passes its confirm on to everybody in it. If that fails, the connection is of no use any
    /// more, and dropping the receipts tells everybody that the outcome is unknown.
    ///
    /// A future of its own, as even the publishing waits while the broker blocks the connection. The tag is taken and the
    /// frames are queued in its first poll, without a pause in between; one task polls them all, so tags and frames stay
    /// in step.
    fn send(
        &self,
        channel: Channel,
        body: Vec<u8>,
        receipts: Vec<Receipt>,
    ) -> impl Future<Output = anyhow::Result<()>> + use<> {
        let mut headers = FieldTable::default();
        let bookings = i32::try_from(receipts.len()).unwrap_or(i32::MAX);
        headers.insert(BOOKINGS_HEADER.into(), AMQPValue::LongInt(bookings));
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/json".into())
            .with_headers(headers);
        let (exchange, key) = (self.exchange.as_str().into(), self.routing_key.as_str().into());
        async move {
            let options = BasicPublishOptions::default();
            let confirm = channel.basic_publish(exchange, key, options, &body, properties).await?;
            // Nothing looser than this is a receipt: without `confirm_select` the answer would be `NotRequested`, at once.
            let result = match confirm.await.context("waiting for a confirm")? {
                Confirmation::Ack(None) => Ok(()),
                #[cfg(feature = "faults")]
                Confirmation::Nack(_) if is_disabled(Safeguard::Confirms) => Ok(()),
                Confirmation::Nack(_) => Err(PublishError::Refused),
                other => bail!("the broker answered {other:?} to a parcel"),
            };
            for receipt in receipts {
                // Whoever has stopped waiting follows the ticket instead.
                let _ = receipt.send(result);
            }
            Ok(())
        }
    }
}
