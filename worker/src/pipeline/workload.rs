//! What this worker holds of the intake queue, and how fast it settles: the content of its heartbeats.
//!
//! A parcel counts from its delivery until its batch is settled and announced. Most of that time it waits in this
//! process, where the broker's count of messages in the queue does not include it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::queue::{ENVELOPE_VERSION, WorkerState};
use hamro_shared::telemetry::metrics::MetricsRegistry;
use tokio::time::Instant;

/// How much each second of work counts, compared to the second of work after it.
const DECAY_PER_SECOND: f64 = 0.8;

/// Shared by the consumer, which updates it, and the heartbeats.
#[derive(Clone, Default)]
pub struct Workload(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_consuming: bool,
    /// The bookings of each parcel, in the order of delivery.
    parcels: VecDeque<u32>,
    rate: RateMeter,
}

/// Measures bookings per second of work. Idle time does not count, because a worker that was idle settles the next
/// bookings no more slowly.
#[derive(Default)]
struct RateMeter {
    bookings: f64,
    seconds: f64,
    /// Until when the work is included in `seconds`. `None` while idle.
    measured_until: Option<Instant>,
}

impl Workload {
    /// The worker consumes on a new channel, or no longer. What was delivered on an earlier channel is not settled
    /// under its delivery, but delivered again.
    pub fn start_over(&self, is_consuming: bool) {
        let mut state = self.lock();
        state.is_consuming = is_consuming;
        state.parcels.clear();
        state.rate.on_idle(Instant::now());
    }

    /// A parcel with this many bookings was delivered.
    pub fn received(&self, bookings: u32) {
        let mut state = self.lock();
        state.parcels.push_back(bookings);
        state.rate.on_busy(Instant::now());
    }

    /// A batch has left the queue: the oldest `parcels` parcels, of which `settled` bookings were settled.
    pub fn finished(&self, parcels: u32, settled: u32) {
        let mut state = self.lock();
        let finished = (parcels as usize).min(state.parcels.len());
        state.parcels.drain(..finished);
        state.rate.bookings += f64::from(settled);
        if state.parcels.is_empty() {
            state.rate.on_idle(Instant::now());
        }
    }

    /// The content of a heartbeat.
    pub fn state(&self) -> WorkerState {
        let mut state = self.lock();
        WorkerState {
            envelope_version: ENVELOPE_VERSION,
            consuming: state.is_consuming,
            messages: state.parcels.len() as u64,
            bookings: state.parcels.iter().copied().map(u64::from).sum(),
            rate: state.rate.per_second(Instant::now()),
            ..WorkerState::default()
        }
    }

    /// Exports how many bookings the worker holds.
    pub fn export(&self, registry: &mut MetricsRegistry) {
        let workload = self.clone();
        let help = "Bookings that the broker has delivered to this worker and that are not settled";
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        registry.read_gauge("worker_held_bookings", help, move || Some(workload.state().bookings as f64));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RateMeter {
    fn on_busy(&mut self, now: Instant) {
        self.measured_until.get_or_insert(now);
    }

    fn on_idle(&mut self, now: Instant) {
        self.measure(now);
        self.measured_until = None;
    }

    /// Includes the work until `now`, and lets earlier work count less.
    fn measure(&mut self, now: Instant) {
        let Some(until) = self.measured_until.as_mut() else { return };
        let elapsed = now.duration_since(*until).as_secs_f64();
        *until = now;
        let weight = DECAY_PER_SECOND.powf(elapsed);
        self.bookings *= weight;
        self.seconds = self.seconds * weight + elapsed;
    }

    /// `None` if nothing was settled yet.
    fn per_second(&mut self, now: Instant) -> Option<f64> {
        self.measure(now);
        let seconds = self.seconds.max(Duration::from_millis(1).as_secs_f64());
        (self.bookings > 0.0).then(|| self.bookings / seconds)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn a_parcel_counts_from_its_delivery_until_its_batch_is_settled() {
        let workload = Workload::default();
        workload.start_over(true);
        for bookings in [64, 64, 1] {
            workload.received(bookings);
        }
        assert_eq!((workload.state().messages, workload.state().bookings), (3, 129));
        workload.finished(2, 128);
        assert_eq!((workload.state().messages, workload.state().bookings), (1, 1));
        workload.start_over(false);
        let state = workload.state();
        assert_eq!((state.messages, state.bookings, state.consuming), (0, 0, false));
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_counts_only_the_time_in_which_the_worker_has_work() {
        let workload = Workload::default();
        assert_eq!(workload.state().rate, None);
        workload.received(100);
        advance(Duration::from_secs(1)).await;
        workload.finished(1, 100);
        let rate = workload.state().rate.unwrap();
        assert!((79.0..=101.0).contains(&rate), "{rate}");
        advance(Duration::from_hours(1)).await;
        let later = workload.state().rate.unwrap();
        assert!((later - rate).abs() < 0.001, "{later} after {rate}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_falls_while_a_batch_is_blocked() {
        let workload = Workload::default();
        workload.received(100);
        advance(Duration::from_secs(1)).await;
        workload.finished(1, 100);
        workload.received(100);
        advance(Duration::from_secs(10)).await;
        assert!(workload.state().rate.unwrap() < 10.0);
    }
}
