//! Returns arrivals at their due times, with a kernel timer (`timerfd_create(2)`). The runtime's timers have a
//! resolution of a millisecond, which is too coarse if a booking takes two.

use std::io;
use std::iter::Zip;
use std::ops::RangeFrom;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;
use tokio::task::coop::consume_budget;
use tokio_util::sync::CancellationToken;

use crate::schedule::Schedule;

/// Arrivals that are closer together than this are returned together. At 20 000 per second, a wake-up for each would
/// cost more than sending the request.
const STEP: Duration = Duration::from_micros(500);

/// A buyer who is due.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub number: u64,
    pub due: Instant,
}

/// Returns every arrival of a schedule from `begin` on, never before it is due and at most one step later, until
/// `stop`. If the caller is late, so are the arrivals; their due times show the delay.
pub struct Pacer {
    schedule: Zip<RangeFrom<u64>, Schedule>,
    begin: Instant,
    stop: CancellationToken,
    timer: AsyncFd<Timer>,
}

struct Timer(TimerFd);

impl Pacer {
    pub fn new(schedule: Schedule, begin: Instant, stop: CancellationToken) -> Result<Self> {
        let timer = timer().context("creating a timer")?;
        Ok(Self { schedule: (0..).zip(schedule), begin, stop, timer })
    }

    /// The next arrival. `None` after the last one or after `stop`.
    pub async fn next(&mut self) -> Result<Option<Arrival>> {
        let Some((number, due)) = self.schedule.next() else { return Ok(None) };
        let due = self.begin + due;
        match self.stop.run_until_cancelled(sleep_until(&self.timer, due)).await {
            Some(slept) => {
                slept.map(|()| Some(Arrival { number, due })).context("waiting for the next arrival")
            }
            None => Ok(None),
        }
    }
}

#[expect(deprecated, reason = "the replacement is unsafe; the timer owns this descriptor and keeps it open")]
fn timer() -> io::Result<AsyncFd<Timer>> {
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    AsyncFd::new(Timer(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
}

async fn sleep_until(timer: &AsyncFd<Timer>, due: Instant) -> io::Result<()> {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Yields to other tasks from time to time if many arrivals are late.
            consume_budget().await;
            return Ok(());
        }
        let when = Expiration::OneShot(left.max(STEP).into());
        timer.get_ref().0.set(when, TimerSetTimeFlags::empty())?;
        let mut readable = timer.readable().await?;
        // A spurious wake-up is not an error, and a late expiration of an earlier time is harmless.
        if let Ok(expired) = readable.try_io(|timer| Ok(timer.get_ref().0.wait()?)) {
            expired?;
            // The timer expires once, and that expiration was read.
            readable.clear_ready();
        }
    }
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Shape;

    fn arrivals(rate: f64, buyers: u64, stop: &CancellationToken) -> Pacer {
        let schedule = Schedule::of_buyers(Shape::Poisson, rate, buyers, 1);
        Pacer::new(schedule, Instant::now(), stop.clone()).unwrap()
    }

    #[tokio::test]
    async fn arrivals_are_never_early_and_in_order() {
        let mut arrivals = arrivals(5_000.0, 500, &CancellationToken::new());
        let mut next = 0;
        while let Some(arrival) = arrivals.next().await.unwrap() {
            assert!(arrival.due <= Instant::now());
            assert_eq!(arrival.number, next);
            next += 1;
        }
        assert_eq!(next, 500);
    }

    #[tokio::test]
    async fn no_buyer_arrives_after_the_stop() {
        let stop = CancellationToken::new();
        let mut arrivals = arrivals(1.0, 1_000_000, &stop);
        arrivals.next().await.unwrap().unwrap();
        stop.cancel();
        assert!(arrivals.next().await.unwrap().is_none());
    }
}
