//! What has been received, and waits for the settler.
//!
//! A task of its own takes parcels from the broker and decodes them while the batch before is being settled. On the
//! settler's own task each parcel would hold up an answer of the database for as long as it takes to decode.

use std::mem::take;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Error, anyhow};
use futures_util::{FutureExt, StreamExt};
use hamro_shared::faults::{self, Point};
use lapin::message::Delivery;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::pipeline::consumer_watchdog::DeliveryProgress;
use crate::settlement::batch::{Batch, UnsupportedVersion};

/// The receiving side of a channel. It receives until this is dropped.
pub struct Prefetcher {
    buffer: Arc<Buffer>,
    limit: usize,
    _task: AbortOnDropHandle<()>,
}

/// Some parcels, and their bookings.
pub struct PendingBatch {
    pub batch: Batch,
    pub parcels: u32,
    pub last: Delivery,
}

/// Why nothing more can be received.
pub enum StreamEnd {
    /// The channel has failed.
    Failed(lapin::Error),
    /// The task that receives has panicked.
    Panicked,
    /// The broker has ended the delivery: the queue has gone, or was made anew.
    QueueDeleted,
    /// The next delivery can only be read by a newer worker.
    UnsupportedVersion(UnsupportedVersion),
}

#[derive(Default)]
struct Buffer {
    contents: Mutex<Contents>,
    has_more: Notify,
    has_room: Notify,
    /// For `failed`, so that it takes no wake-up from who waits for more.
    has_failed: Notify,
    progress: Arc<DeliveryProgress>,
}

#[derive(Default)]
struct Contents {
    batch: Batch,
    parcels: u32,
    last: Option<Delivery>,
    end: Option<StreamEnd>,
}

impl Prefetcher {
    /// Receives ahead, up to so many bookings, or the parcel that exceeds them.
    pub fn start(mut deliveries: lapin::Consumer, limit: usize, progress: Arc<DeliveryProgress>) -> Self {
        let buffer = Arc::new(Buffer { progress, ..Buffer::default() });
        let filled = buffer.clone();
        let receiving = async move {
            let filling = async {
                while filled.fill(&mut deliveries, limit).await.is_ok() {
                    while filled.contents().batch.len() >= limit {
                        filled.has_room.notified().await;
                    }
                }
            };
            if AssertUnwindSafe(filling).catch_unwind().await.is_err() {
                // What was received and not added yet is never acknowledged, and comes again.
                filled.end(StreamEnd::Panicked);
            }
        };
        let task = tokio::spawn(receiving);
        Self { buffer, limit, _task: AbortOnDropHandle::new(task) }
    }

    /// All that has been received by now, as soon as there is anything: small batches when it is quiet, large ones in a
    /// rush, and no lingering in between. What came before the end is handed out before the end is told.
    pub async fn next(&self) -> Result<PendingBatch, StreamEnd> {
        loop {
            if let Some(next) = self.buffer.take(Contents::take_next) {
                return next;
            }
            self.buffer.has_more.notified().await;
        }
    }

    /// Resolves as soon as the channel has failed or the receiving task has panicked, whatever is in hand or buffered: it can
    /// no longer be acknowledged, and comes again. A queue that has gone is left to `next`, because what was received from it
    /// comes from nowhere else.
    pub async fn failed(&self) -> Error {
        loop {
            match self.buffer.contents().end {
                Some(StreamEnd::Failed(ref error)) => return error.clone().into(),
                Some(StreamEnd::Panicked) => return anyhow!("the task that receives has panicked"),
                _ => {}
            }
            self.buffer.has_failed.notified().await;
        }
    }

    /// As much as goes into one batch, as soon as there is so much. Waits for ever if that does not come, and tells of no end.
    pub async fn next_full(&self) -> PendingBatch {
        loop {
            if let Some(full) = self.buffer.take(|contents| contents.take_full(self.limit)) {
                return full;
            }
            self.buffer.has_more.notified().await;
        }
    }
}

/// Nothing can come behind what has been received.
struct Closed;

impl Buffer {
    /// Waits for a delivery and adds it, and what else is there already.
    async fn fill(&self, deliveries: &mut lapin::Consumer, limit: usize) -> Result<(), Closed> {
        let mut added = self.add(deliveries.next().await);
        while added.is_ok()
            && self.contents().batch.len() < limit
            && let Some(delivery) = deliveries.next().now_or_never()
        {
            added = self.add(delivery);
        }
        self.has_more.notify_one();
        self.has_failed.notify_one();
        added
    }

    fn end(&self, end: StreamEnd) {
        self.contents().end = Some(end);
        self.has_more.notify_one();
        self.has_failed.notify_one();
    }

    /// Adds what the stream of deliveries has yielded.
    fn add(&self, delivery: Option<Result<Delivery, lapin::Error>>) -> Result<(), Closed> {
        let mut batch = Batch::default();
        let decoded = match delivery {
            None => Err(StreamEnd::QueueDeleted),
            Some(Err(error)) => Err(StreamEnd::Failed(error)),
            Some(Ok(delivery)) => {
                faults::pass(Point::Receiving);
                self.progress.received(delivery.delivery_tag);
                batch.add_parcel(&delivery.data).map(|()| delivery).map_err(StreamEnd::UnsupportedVersion)
            }
        };
        let (added, waiting) = {
            let mut contents = self.contents();
            (contents.add(batch, decoded), contents.batch.len())
        };
        debug!(batch.size = waiting, "{waiting} bookings wait to be settled");
        added
    }

    fn take<T>(&self, take: impl FnOnce(&mut Contents) -> Option<T>) -> Option<T> {
        let taken = take(&mut self.contents());
        self.has_room.notify_one();
        taken
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    fn add(&mut self, batch: Batch, decoded: Result<Delivery, StreamEnd>) -> Result<(), Closed> {
        match decoded {
            Ok(delivery) => {
                self.batch.append(batch);
                self.parcels += 1;
                self.last = Some(delivery);
                Ok(())
            }
            Err(end) => {
                self.end = Some(end);
                Err(Closed)
            }
        }
    }

    fn take_next(&mut self) -> Option<Result<PendingBatch, StreamEnd>> {
        self.take_all().map(Ok).or_else(|| self.end.take().map(Err))
    }

    fn take_full(&mut self, limit: usize) -> Option<PendingBatch> {
        if self.batch.len() < limit { None } else { self.take_all() }
    }

    fn take_all(&mut self) -> Option<PendingBatch> {
        let last = self.last.take()?;
        Some(PendingBatch { batch: take(&mut self.batch), parcels: take(&mut self.parcels), last })
    }
}
