//! Receives and decodes parcels ahead of settlement, in a separate task.
//!
//! Decoding in the settling task would delay the responses of the database. The task stops decoding while a full batch
//! is buffered. What the broker sends beyond that, within the channel's prefetch window, is only counted.

use std::collections::VecDeque;
use std::future;
use std::sync::Arc;

use anyhow::{Error, anyhow};
use futures_util::{FutureExt, StreamExt};
use hamro_shared::fault_point;
use lapin::message::Delivery;
use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::consumer_watchdog::DeliveryProgress;
use super::isolated_booking::bookings_in;
use super::workload::Workload;
use crate::settlement::batch::{Batch, UnsupportedVersion};

/// Hands out what the task has buffered.
pub struct Prefetcher {
    buffer: mpsc::UnboundedReceiver<Result<PendingBatch, StreamEnd>>,
    /// How many bookings are in the buffer: what bounds it.
    buffered: Arc<watch::Sender<usize>>,
    batch_max: usize,
    /// Why the stream has ended, once it was taken from the buffer.
    end: Option<StreamEnd>,
}

/// The receiving task. It is aborted when this is dropped.
pub struct PrefetchTask(AbortOnDropHandle<lapin::Result<()>>);

/// The bookings of some consecutive parcels.
pub struct PendingBatch {
    pub batch: Batch,
    pub parcels: u32,
    /// The delivery of the last parcel.
    pub last: Delivery,
}

/// Why no further parcel follows, although the channel works.
pub enum StreamEnd {
    /// The broker cancelled the consumer: the queue was deleted.
    QueueDeleted,
    /// The next parcel needs a newer worker.
    Unsupported(UnsupportedVersion),
}

/// Why receiving stops.
enum Stop {
    End(StreamEnd),
    Failed(lapin::Error),
}

/// What the broker has delivered and is not decoded yet.
struct Arrivals {
    deliveries: lapin::Consumer,
    /// Already counted.
    waiting: VecDeque<Delivery>,
    is_ended: bool,
    workload: Workload,
}

/// Starts receiving. Decoding pauses while `batch_max` bookings or more are buffered; the last parcel may exceed that
/// number.
pub fn prefetch(
    deliveries: lapin::Consumer,
    batch_max: usize,
    progress: Arc<DeliveryProgress>,
    workload: Workload,
) -> (Prefetcher, PrefetchTask) {
    let (sender, buffer) = mpsc::unbounded_channel();
    let buffered = Arc::new(watch::Sender::new(0));
    let arrivals = Arrivals { deliveries, waiting: VecDeque::new(), is_ended: false, workload };
    let receiving = receive(arrivals, batch_max, sender, buffered.clone(), progress);
    let task = PrefetchTask(AbortOnDropHandle::new(tokio::spawn(receiving)));
    (Prefetcher { buffer, buffered, batch_max, end: None }, task)
}

impl Prefetcher {
    /// Returns everything that is buffered, up to a full batch, as soon as there is anything: small batches in quiet
    /// hours, large ones in a rush, and no delay to fill them. With `only_full` it returns once a full batch is
    /// buffered.
    ///
    /// The end of the stream is returned after the last parcel. After the task has failed this never returns;
    /// [`PrefetchTask::failed`] reports that.
    pub async fn next(&mut self, only_full: bool) -> Result<PendingBatch, StreamEnd> {
        if only_full {
            // Cannot fail: the sender is ours.
            let _ = self.buffered.subscribe().wait_for(|buffered| *buffered >= self.batch_max).await;
        }
        if let Some(end) = self.end.take() {
            return Err(end);
        }
        let mut pending = match self.buffer.recv().await {
            Some(received) => received?,
            None => future::pending().await,
        };
        while pending.batch.len() < self.batch_max {
            match self.buffer.try_recv() {
                Ok(Ok(later)) => pending.append(later),
                Ok(Err(end)) => self.end = Some(end),
                Err(_) => break,
            }
        }
        self.buffered.send_modify(|buffered| *buffered -= pending.batch.len());
        Ok(pending)
    }
}

impl PrefetchTask {
    /// Returns as soon as the channel has failed or the task has panicked, whatever is buffered or in flight: none of
    /// it can still be acknowledged, and the broker delivers it again. Does not return when the queue was deleted,
    /// because parcels received from a deleted queue are not delivered again and must be settled.
    pub async fn failed(&mut self) -> Error {
        match (&mut self.0).await {
            Ok(Ok(())) => future::pending().await,
            Ok(Err(error)) => Error::from(error).context("the channel failed"),
            Err(_) => anyhow!("the prefetch task panicked"),
        }
    }
}

impl PendingBatch {
    fn append(&mut self, later: Self) {
        self.batch.append(later.batch);
        self.parcels += later.parcels;
        self.last = later.last;
    }
}

impl Arrivals {
    /// The oldest delivery; `None` once the queue was deleted.
    async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        match self.waiting.pop_front() {
            Some(delivery) => Some(Ok(delivery)),
            None => self.receive().await,
        }
    }

    /// Receives and counts what the broker delivers, and keeps it. Returns only if the channel fails.
    async fn count_all(&mut self) -> lapin::Error {
        loop {
            match self.receive().await {
                Some(Ok(delivery)) => self.waiting.push_back(delivery),
                Some(Err(error)) => return error,
                None => future::pending().await,
            }
        }
    }

    async fn receive(&mut self) -> Option<lapin::Result<Delivery>> {
        if self.is_ended {
            return None;
        }
        let received = self.deliveries.next().await;
        match &received {
            Some(Ok(delivery)) => self.workload.received(bookings_in(delivery)),
            Some(Err(_)) => {}
            None => self.is_ended = true,
        }
        received
    }
}

async fn receive(
    mut arrivals: Arrivals,
    batch_max: usize,
    buffer: mpsc::UnboundedSender<Result<PendingBatch, StreamEnd>>,
    buffered: Arc<watch::Sender<usize>>,
    progress: Arc<DeliveryProgress>,
) -> lapin::Result<()> {
    let mut room = buffered.subscribe();
    loop {
        tokio::select! {
            biased;
            _ = room.wait_for(|buffered| *buffered < batch_max) => {}
            error = arrivals.count_all() => return Err(error),
        }
        let (pending, stop) = receive_ready(&mut arrivals, batch_max, &progress).await;
        if let Some(pending) = pending {
            // The count first, so that it is never below what the buffer holds.
            buffered.send_modify(|buffered| *buffered += pending.batch.len());
            let size = *room.borrow();
            debug!(batch.size = size, "{size} bookings are buffered");
            let _ = buffer.send(Ok(pending));
        }
        match stop {
            None => {}
            Some(Stop::Failed(error)) => return Err(error),
            Some(Stop::End(end)) => {
                let _ = buffer.send(Err(end));
                return Ok(());
            }
        }
    }
}

/// Waits for a parcel, and takes all others that have arrived by then, up to a full batch.
async fn receive_ready(
    arrivals: &mut Arrivals,
    batch_max: usize,
    progress: &DeliveryProgress,
) -> (Option<PendingBatch>, Option<Stop>) {
    let mut pending: Option<PendingBatch> = None;
    let mut next = arrivals.next().await;
    loop {
        let later = match decode(next, progress) {
            Ok(later) => later,
            Err(stop) => return (pending, Some(stop)),
        };
        let size = match &mut pending {
            Some(pending) => {
                pending.append(later);
                pending.batch.len()
            }
            None => pending.insert(later).batch.len(),
        };
        if size >= batch_max {
            return (pending, None);
        }
        match arrivals.next().now_or_never() {
            Some(ready) => next = ready,
            None => return (pending, None),
        }
    }
}

fn decode(
    delivery: Option<lapin::Result<Delivery>>,
    progress: &DeliveryProgress,
) -> Result<PendingBatch, Stop> {
    let last = delivery.ok_or(Stop::End(StreamEnd::QueueDeleted))?.map_err(Stop::Failed)?;
    fault_point!(Receiving);
    progress.received(last.delivery_tag);
    let mut batch = Batch::default();
    batch.add_parcel(&last.data).map_err(|unsupported| Stop::End(StreamEnd::Unsupported(unsupported)))?;
    Ok(PendingBatch { batch, parcels: 1, last })
}
