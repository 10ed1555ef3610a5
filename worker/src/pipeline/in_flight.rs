//! The batches that a worker has in hand at a time.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::pipeline::prefetch::PendingBatch;
use crate::settlement::lock_order::LockQueue;
use crate::settlement::retry::{BatchExecutor, BatchResult, Interrupted};

/// While the first writes and commits, the second locks and decides. More of them find nothing left to overlap with.
pub const MAX_IN_FLIGHT_BATCHES: usize = 2;

/// Several settlers, and at most one batch for each. Batches begin and end in the order in which they come.
pub struct InFlightBatches<'a> {
    executors: &'a [Arc<Mutex<BatchExecutor>>],
    lock_queue: LockQueue,
    taken: usize,
    batches: FuturesOrdered<BoxFuture<'static, Result<SettledBatch, Interrupted>>>,
}

/// A batch that has ended.
pub struct SettledBatch {
    pub result: BatchResult,
    /// How many bookings were in it, those that had been settled before among them.
    pub bookings: u32,
    pub parcels: u32,
    pub last: Delivery,
}

impl<'a> InFlightBatches<'a> {
    pub fn new(executors: &'a [Arc<Mutex<BatchExecutor>>]) -> Self {
        Self { executors, lock_queue: LockQueue::default(), taken: 0, batches: FuturesOrdered::new() }
    }

    pub fn is_idle(&self) -> bool {
        self.batches.is_empty()
    }

    pub fn has_room(&self) -> bool {
        self.batches.len() < self.executors.len()
    }

    /// Takes one more in hand. If there was no room, it waits until there is.
    pub fn start(&mut self, pending: PendingBatch, stop: &CancellationToken) {
        // As they end in order, whoever has been busy for longest is free first.
        let executor = self.executors[self.taken % self.executors.len()].clone();
        self.taken += 1;
        let (turn, stop) = (self.lock_queue.join(), stop.clone());
        let PendingBatch { batch, parcels, last } = pending;
        let bookings = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        debug!(batch.size = bookings, "took a batch of {bookings} in hand");
        let settling = async move {
            let result = executor.lock().await.settle(batch, turn, &stop).await?;
            Ok(SettledBatch { result, bookings, parcels, last })
        };
        self.batches.push_back(settling.boxed());
    }

    /// The next one to end; nothing when none is in hand. After `Interrupted` none of those behind it may be acknowledged.
    pub async fn next(&mut self) -> Option<Result<SettledBatch, Interrupted>> {
        self.batches.next().await
    }
}
