//! Hands out the arrivals when they are due, from a thread of its own: the runtime's timers go by whole milliseconds, and
//! where a booking takes two, they would measure themselves.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::schedule::Schedule;

/// Arrivals that are closer together than this are handed out together: at 20 000 a second, waking for each would cost more
/// than sending it.
const STEP: Duration = Duration::from_micros(250);
/// So often it is looked whether there are to be no more.
const LOOK_UP: Duration = Duration::from_millis(100);

/// A buyer who is due.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub number: u64,
    pub due: Instant,
}

/// Every arrival of the schedule from `begin` on, not before it is due and at most a step after, until `stop`. If nobody
/// takes them they wait, and their due times tell.
pub fn pace(
    schedule: Schedule,
    begin: Instant,
    stop: CancellationToken,
) -> Result<UnboundedReceiver<Arrival>> {
    let (sender, arrivals) = unbounded_channel();
    let pacing = move || {
        for (number, due) in (0..).zip(schedule) {
            let due = begin + due;
            if !sleep_until(due, &stop) || sender.send(Arrival { number, due }).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("pacer".to_owned()).spawn(pacing).context("starting a thread")?;
    Ok(arrivals)
}

/// Whether `due` has come, and not `stop`.
fn sleep_until(due: Instant, stop: &CancellationToken) -> bool {
    loop {
        if stop.is_cancelled() {
            return false;
        }
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.clamp(STEP, LOOK_UP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Shape;

    fn arrivals(rate: f64, buyers: u64, stop: &CancellationToken) -> UnboundedReceiver<Arrival> {
        let schedule = Schedule::of_buyers(Shape::Poisson, rate, buyers, 1);
        pace(schedule, Instant::now(), stop.clone()).unwrap()
    }

    #[tokio::test]
    async fn nobody_arrives_early_and_all_in_order() {
        let mut arrivals = arrivals(5_000.0, 500, &CancellationToken::new());
        let mut next = 0;
        while let Some(arrival) = arrivals.recv().await {
            assert!(arrival.due <= Instant::now());
            assert_eq!(arrival.number, next);
            next += 1;
        }
        assert_eq!(next, 500);
    }

    #[tokio::test]
    async fn nobody_arrives_after_it_was_stopped() {
        let stop = CancellationToken::new();
        let mut arrivals = arrivals(1.0, 1_000_000, &stop);
        arrivals.recv().await.unwrap();
        stop.cancel();
        assert!(arrivals.recv().await.is_none());
    }
}
