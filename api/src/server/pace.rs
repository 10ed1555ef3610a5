//! Measures how fast a client takes what is sent to it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How many bytes per second a client must take, on average. A phone with a bad connection takes more. Without this
/// minimum, a client that takes one byte now and then would keep a response in memory for days.
pub const MIN_BYTES_PER_SECOND: u64 = 4096;

/// How long a client has kept the server waiting. Each byte that it takes makes up for some of that time.
#[derive(Debug, Default)]
pub struct Pace {
    waiting_since: Option<Instant>,
    debt: Duration,
}

impl Pace {
    /// The client takes nothing more for now.
    pub fn stall(&mut self) {
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    /// The client has taken `bytes` after a stall. Without one, this does nothing.
    pub fn resume(&mut self, bytes: usize) {
        let Some(since) = self.waiting_since.take() else { return };
        self.debt = (self.debt + since.elapsed()).saturating_sub(time_for(bytes));
    }

    /// When the client has kept the server waiting for too long, if it takes nothing until then.
    pub fn deadline(&self, limit: Duration) -> Option<Instant> {
        Some(self.waiting_since? + limit.saturating_sub(self.debt))
    }
}

/// How long a client may take for these bytes, in addition to the write timeout.
pub fn time_for(bytes: usize) -> Duration {
    Duration::from_millis(bytes as u64 * 1_000 / MIN_BYTES_PER_SECOND)
}

/// A timer for a deadline that changes. It is armed only while there is a deadline.
#[derive(Debug, Default)]
pub struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// Resolves once the deadline has passed. Must be polled again whenever the deadline changes. If that is later than
    /// before, the timer is adjusted only when it fires, because deadlines change more often than they pass.
    pub fn poll(&mut self, deadline: Option<Instant>, context: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if deadline < timer.deadline() {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn remaining(pace: &Pace) -> Option<u64> {
        Some(pace.deadline(LIMIT)?.duration_since(Instant::now()).as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_has_until_the_limit() {
        let mut pace = Pace::default();
        assert_eq!(remaining(&pace), None);
        pace.stall();
        advance(Duration::from_secs(10)).await;
        pace.stall();
        assert_eq!(remaining(&pace), Some(20));
        pace.resume(1_000_000);
        assert_eq!(remaining(&pace), None);
        pace.stall();
        assert_eq!(remaining(&pace), Some(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_extend_the_limit() {
        let mut pace = Pace::default();
        for _ in 0..29 {
            pace.stall();
            advance(Duration::from_secs(1)).await;
            pace.resume(1);
        }
        pace.stall();
        assert_eq!(remaining(&pace), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_at_the_minimum_rate_is_never_too_slow() {
        let mut pace = Pace::default();
        for _ in 0..1_000 {
            pace.stall();
            advance(Duration::from_secs(20)).await;
            pace.resume(20 * 4096);
        }
        pace.stall();
        assert_eq!(remaining(&pace), Some(30));
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_is_followed() {
        let start = Instant::now();
        let (mut timer, mut later) = (Deadline::default(), start + LIMIT * 2);
        let mut first = true;
        poll_fn(|context| {
            if first {
                first = false;
                let poll = timer.poll(Some(start + LIMIT), context);
                assert!(poll.is_pending());
            }
            timer.poll(Some(later), context)
        })
        .await;
        assert_eq!(start.elapsed().as_secs(), 60);
        later = start + LIMIT;
        poll_fn(|context| timer.poll(Some(later), context)).await;
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}
