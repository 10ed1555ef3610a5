//! The batches that a worker has in hand at a time.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::receiving::Received;
use crate::settler::{BatchResult, Settler, Stopped};
use crate::turn::Line;

/// While the first writes and commits, the second locks and decides. More of them find nothing left to overlap with.
pub const BATCHES_IN_HAND: usize = 2;

/// Several settlers, and at most one batch for each. Batches begin and end in the order in which they come.
pub struct Settling<'a> {
    settlers: &'a [Arc<Mutex<Settler>>],
    line: Line,
    taken: usize,
    in_hand: FuturesOrdered<BoxFuture<'static, Result<Settled, Stopped>>>,
}

/// A batch that has ended.
pub struct Settled {
    pub result: BatchResult,
    /// How many bookings were in it, those that had been settled before among them.
    pub bookings: u32,
    pub parcels: u32,
    pub last: Delivery,
}

impl<'a> Settling<'a> {
    pub fn new(settlers: &'a [Arc<Mutex<Settler>>]) -> Self {
        Self { settlers, line: Line::default(), taken: 0, in_hand: FuturesOrdered::new() }
    }

    pub fn is_idle(&self) -> bool {
        self.in_hand.is_empty()
    }

    pub fn has_room(&self) -> bool {
        self.in_hand.len() < self.settlers.len()
    }

    /// Takes one more in hand. If there was no room, it waits until there is.
    pub fn take(&mut self, received: Received, stop: &CancellationToken) {
        // As they end in order, whoever has been busy for longest is free first.
        let settler = self.settlers[self.taken % self.settlers.len()].clone();
        self.taken += 1;
        let (turn, stop) = (self.line.join(), stop.clone());
        let Received { batch, parcels, last } = received;
        let bookings = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        debug!(batch.size = bookings, "took a batch of {bookings} in hand");
        let settling = async move {
            let result = settler.lock().await.settle(batch, turn, &stop).await?;
            Ok(Settled { result, bookings, parcels, last })
        };
        self.in_hand.push_back(settling.boxed());
    }

    /// The next one to end; nothing when none is in hand. After `Stopped` none of those behind it may be acknowledged.
    pub async fn next(&mut self) -> Option<Result<Settled, Stopped>> {
        self.in_hand.next().await
    }
}
