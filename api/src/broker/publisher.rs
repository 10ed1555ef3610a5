//! The handlers' side of publishing: each passes its booking to the publishing task and waits for the broker's confirm.
//!
//! A booking is accepted when the broker confirms it. The [`publishing_task`](super::publishing_task) says why handlers do not
//! publish themselves.

use std::time::Duration;

use hamro_shared::domain::Timestamp;
use hamro_shared::queue::{Envelope, Release};
use hamro_shared::telemetry::metrics::MetricsRegistry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

pub use super::publisher_config::PublisherConfig;
pub use super::publisher_metrics::PublisherMetrics;
use super::release_announcer::{QueuedReleases, ReleaseAnnouncer, release_announcer};
use crate::outcomes::queue_estimate::QueueEstimate;

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
    queue_estimate: QueueEstimate,
    release_announcer: ReleaseAnnouncer,
    metrics: PublisherMetrics,
}

/// The task's ends of the channels to the handlers.
pub(super) struct TaskChannels {
    pub requests: mpsc::Receiver<PublishRequest>,
    pub state: watch::Sender<BrokerState>,
    pub releases: QueuedReleases,
}

/// An encoded envelope, and the handler that waits for its confirm.
pub(super) struct PublishRequest {
    pub encoded_envelope: Vec<u8>,
    pub receipt: Receipt,
}

/// A booking whose confirm a handler waits for.
pub(super) struct Receipt {
    pub issued_at: Timestamp,
    pub requested_at: Instant,
    handler: oneshot::Sender<Result<(), AcceptError>>,
}

impl Receipt {
    /// Fails silently if the handler has stopped waiting.
    pub fn send(self, result: Result<(), AcceptError>) {
        let _ = self.handler.send(result);
    }
}

impl Publisher {
    pub(super) fn new(
        config: PublisherConfig,
        queue_estimate: QueueEstimate,
        metrics: PublisherMetrics,
    ) -> (Self, TaskChannels) {
        let (request_sender, requests) = mpsc::channel(config.waiting_max.get());
        let (state, state_receiver) = watch::channel(BrokerState::Down);
        let (release_announcer, releases) = release_announcer();
        let publisher = Self {
            requests: request_sender,
            state: state_receiver,
            confirm_timeout: config.confirm_timeout,
            queue_estimate,
            release_announcer,
            metrics,
        };
        (publisher, TaskChannels { requests, state, releases })
    }

    /// Whether the broker currently accepts messages.
    pub fn is_up(&self) -> bool {
        *self.state.borrow() == BrokerState::Up
    }

    /// Counts a booking that cannot be published at the moment.
    pub fn check_up(&self) -> Result<(), AcceptError> {
        if self.is_up() {
            return Ok(());
        }
        self.metrics.count_failure(AcceptError::Unavailable);
        Err(AcceptError::Unavailable)
    }

    /// Announces a release to all instances, or drops the announcement if too many wait.
    pub fn announce(&self, release: &Release) {
        self.release_announcer.announce(release);
    }

    /// Exports how many bookings wait for the publishing task. It does not keep the task running.
    #[expect(clippy::cast_precision_loss, reason = "metrics")]
    pub fn register_metrics(&self, registry: &mut MetricsRegistry) {
        let requests = self.requests.downgrade();
        registry.read_gauge(
            "publish_waiting",
            "Bookings of this instance that wait for the publishing task, which packs them into messages",
            move || requests.upgrade().map(|it| (it.max_capacity() - it.capacity()) as f64),
        );
        let max = self.requests.max_capacity() as f64;
        registry.read_gauge(
            "publish_waiting_max",
            "How many bookings may wait for the publishing task; others are refused as busy",
            move || Some(max),
        );
    }

    /// Publishes the booking. `Ok` means that the broker has confirmed that it is stored.
    pub async fn publish(&self, envelope: Envelope) -> Result<(), AcceptError> {
        let result = self.try_publish(envelope).await;
        if let Err(error) = result {
            self.metrics.count_failure(error);
        }
        result
    }

    async fn try_publish(&self, envelope: Envelope) -> Result<(), AcceptError> {
        if !self.is_up() {
            return Err(AcceptError::Unavailable);
        }
        let (handler, confirmed) = oneshot::channel();
        let receipt =
            Receipt { issued_at: envelope.ticket.id.issued_at(), requested_at: Instant::now(), handler };
        // Counted first, so that the booking is among the arrivals once its position is requested.
        self.queue_estimate.on_issued(receipt.issued_at);
        let request = PublishRequest { encoded_envelope: envelope.encode(), receipt };
        self.requests.try_send(request).map_err(|error| {
            self.queue_estimate.on_refused(1);
            match error {
                mpsc::error::TrySendError::Full(_) => AcceptError::Busy,
                mpsc::error::TrySendError::Closed(_) => AcceptError::Unavailable,
            }
        })?;
        match timeout(self.confirm_timeout, confirmed).await {
            Ok(Ok(result)) => result,
            // The confirm is late, or the connection was lost before it arrived.
            Ok(Err(_)) | Err(_) => Err(AcceptError::Unknown),
        }
    }
}
