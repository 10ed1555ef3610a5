//! The order in which batches lock their seats.
//!
//! A seat goes to whoever came first, also where a batch is being settled beside the one before it: the later one asks for its
//! seats only when the earlier one holds its own, and waits for those that both want until the earlier one has ended.

use std::convert::Infallible;

use tokio::sync::oneshot::{Receiver, Sender, channel};

/// A batch's turn to lock its seats. It passes to the batch behind when the seats are locked, or when this is dropped.
///
/// By default there is nobody before and nobody behind.
#[derive(Debug, Default)]
pub struct LockTurn {
    before: Option<Receiver<Infallible>>,
    behind: Option<Sender<Infallible>>,
}

/// A queue of batches.
#[derive(Debug, Default)]
pub struct LockQueue {
    last: Option<Receiver<Infallible>>,
}

impl LockQueue {
    /// Who joins comes after all who have.
    pub fn join(&mut self) -> LockTurn {
        let (behind, last) = channel();
        LockTurn { before: self.last.replace(last), behind: Some(behind) }
    }
}

impl LockTurn {
    /// Waits until the batch before has passed its turn.
    pub async fn acquire(&mut self) {
        if let Some(before) = &mut self.before {
            // Nothing is ever sent: the end of the channel is the signal.
            let _ = before.await;
        }
        self.before = None;
    }

    /// The seats are locked.
    pub fn release(&mut self) {
        self.behind = None;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_turn_comes_when_the_one_before_has_passed_or_ended() {
        let mut line = LockQueue::default();
        let (mut first, mut second, mut third) = (line.join(), line.join(), line.join());
        assert!(first.acquire().now_or_never().is_some());
        assert!(second.acquire().now_or_never().is_none());
        first.release();
        assert!(second.acquire().now_or_never().is_some());
        assert!(third.acquire().now_or_never().is_none());
        drop(second);
        assert!(third.acquire().now_or_never().is_some());
    }

    #[test]
    fn a_turn_alone_comes_at_once() {
        assert!(LockTurn::default().acquire().now_or_never().is_some());
    }
}
