//! The batches that are being settled.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::prefetch::PendingBatch;
use crate::settlement::executor::{BatchExecutor, BatchResult, Interrupted};
use crate::settlement::lock_order::LockQueue;

/// While the first batch writes and commits, the second locks and decides. A third would have nothing to overlap with.
pub const MAX_IN_FLIGHT_BATCHES: usize = 2;

/// At most one batch for each executor. Batches lock their seats, and end, in the order in which they were started.
pub struct InFlightBatches<'a> {
    executors: &'a [Arc<Mutex<BatchExecutor>>],
    lock_queue: LockQueue,
    started: usize,
    batches: FuturesOrdered<BoxFuture<'static, Result<SettledBatch, Interrupted>>>,
}

/// A batch that has ended, and what to acknowledge.
pub struct SettledBatch {
    pub result: BatchResult,
    /// How many bookings were in it, including those settled earlier.
    pub bookings: u32,
    pub parcels: u32,
    pub last: Delivery,
}

impl<'a> InFlightBatches<'a> {
    pub fn new(executors: &'a [Arc<Mutex<BatchExecutor>>]) -> Self {
        Self { executors, lock_queue: LockQueue::default(), started: 0, batches: FuturesOrdered::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    pub fn has_room(&self) -> bool {
        self.batches.len() < self.executors.len()
    }

    /// Starts to settle a batch. If no executor is free, the batch waits for one.
    pub fn start(&mut self, pending: PendingBatch, stop: &CancellationToken) {
        // Batches end in order, so the executor that was started first is free first.
        let executor = self.executors[self.started % self.executors.len()].clone();
        self.started += 1;
        let (turn, stop) = (self.lock_queue.join(), stop.clone());
        let PendingBatch { batch, parcels, last } = pending;
        let bookings = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        debug!(batch.size = bookings, "settling a batch of {bookings}");
        let settling = async move {
            let result = executor.lock().await.settle(batch, turn, &stop).await?;
            Ok(SettledBatch { result, bookings, parcels, last })
        };
        self.batches.push_back(settling.boxed());
    }

    /// Waits for the oldest batch to end; `None` if there is none. After `Interrupted` no later batch may be
    /// acknowledged.
    pub async fn next(&mut self) -> Option<Result<SettledBatch, Interrupted>> {
        self.batches.next().await
    }
}
