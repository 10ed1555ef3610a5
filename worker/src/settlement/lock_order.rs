//! The order in which batches lock their seats: the order of arrival.
//!
//! Two batches are settled at a time. The later one locks its seats only after the earlier one has locked its own, so a
//! seat goes to the booking that arrived first. If both request a seat, the later batch waits for the earlier one to
//! commit.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// The queue of batches. A tokio mutex is fair: it is acquired in the order of the requests.
#[derive(Debug, Default)]
pub struct LockQueue(Arc<Mutex<()>>);

/// A batch's turn to lock its seats. It ends with [`release`](Self::release) or when this is dropped.
///
/// The default is the turn of a batch that is settled on its own.
#[derive(Default)]
pub enum LockTurn {
    Waiting(BoxFuture<'static, OwnedMutexGuard<()>>),
    Acquired(OwnedMutexGuard<()>),
    #[default]
    Released,
}

impl LockQueue {
    /// Joins the end of the queue. The place is taken here, and not when the turn is first awaited.
    pub fn join(&self) -> LockTurn {
        let mut turn = self.0.clone().lock_owned().boxed();
        // The first poll of a mutex's future puts it into the queue.
        match Pin::new(&mut turn).now_or_never() {
            Some(guard) => LockTurn::Acquired(guard),
            None => LockTurn::Waiting(turn),
        }
    }
}

impl LockTurn {
    /// Waits until all batches before this one have released their turns.
    pub async fn acquire(&mut self) {
        if let Self::Waiting(turn) = self {
            *self = Self::Acquired(turn.await);
        }
    }

    /// Ends the turn: the seats are locked.
    pub fn release(&mut self) {
        *self = Self::Released;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_acquired_once_the_one_before_is_released_or_dropped() {
        let queue = LockQueue::default();
        let (mut first, mut second, mut third) = (queue.join(), queue.join(), queue.join());
        assert!(first.acquire().now_or_never().is_some());
        assert!(second.acquire().now_or_never().is_none());
        first.release();
        assert!(third.acquire().now_or_never().is_none());
        assert!(second.acquire().now_or_never().is_some());
        drop(second);
        assert!(third.acquire().now_or_never().is_some());
    }

    #[test]
    fn turns_are_acquired_in_the_order_of_joining_whatever_is_awaited_first() {
        let queue = LockQueue::default();
        let (first, mut second, mut third) = (queue.join(), queue.join(), queue.join());
        assert!(third.acquire().now_or_never().is_none());
        assert!(second.acquire().now_or_never().is_none());
        drop(first);
        assert!(third.acquire().now_or_never().is_none());
        assert!(second.acquire().now_or_never().is_some());
    }

    #[test]
    fn a_turn_outside_of_a_queue_is_acquired_at_once() {
        assert!(LockTurn::default().acquire().now_or_never().is_some());
    }
}
