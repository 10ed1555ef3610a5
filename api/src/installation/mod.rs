//! What the heartbeats of all processes say about the whole installation, now and in the last 15 minutes: for the live view.
//!
//! Each process reports what it has counted since it started. The increase between two of its heartbeats is distributed
//! evenly over the time between them, and added to the [`history`]. All instances hear the same, so they show the same.

pub mod envelope_versions;
mod history;
mod increase;
pub mod reports;
mod series;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hamro_shared::domain::Clock;
use hamro_shared::queue::{Heartbeat, ProcessState};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::history::Gauges;
use self::history::History;
use self::increase::Increase;
pub use self::series::Series;
use crate::outcomes::queue_estimate::QueueEstimate;

/// A process that was silent for this long is no longer listed.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// How long after its end a second is complete: until then, a heartbeat may add to it.
const COMPLETE_AFTER: i64 = 2;

/// The installation, as one instance knows it. Clones share it.
#[derive(Clone)]
pub struct Installation(Arc<Inner>);

struct Inner {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    processes: HashMap<Uuid, Process>,
    history: History,
    /// Since when all heartbeats are received, in milliseconds since the Unix epoch.
    listening_since: Option<i64>,
    /// When every process can have been heard, if heartbeats are received.
    all_heard_at: Option<Instant>,
    /// The newest version of envelopes that the workers could read that ran last.
    last_readable: Option<u16>,
}

struct Process {
    heartbeat: Heartbeat,
    heard: Instant,
    /// In milliseconds since the Unix epoch.
    heard_at: i64,
}

/// A process, and how long ago it was heard.
pub struct HeardProcess {
    pub heartbeat: Heartbeat,
    pub silent_for: Duration,
}

impl Installation {
    /// `clock` decides in which second something has happened.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Inner { clock, state: Mutex::default() }))
    }

    /// The connection that receives heartbeats is new, or lost. What happens without it is unknown.
    pub fn listens(&self, is_listening: bool) {
        let at = self.now();
        let mut state = self.lock();
        state.processes.clear();
        state.listening_since = is_listening.then_some(at);
        state.hear_from(is_listening.then(Instant::now));
    }

    /// Records the heartbeat of any process, also of this one.
    pub fn on_heartbeat(&self, heartbeat: &Heartbeat, now: Instant) {
        let heard_at = self.now();
        let mut state = self.lock();
        let State { processes, history, .. } = &mut *state;
        processes.retain(|_, process| now.duration_since(process.heard) < FORGET_AFTER);
        if let Some(previous) = processes.get(&heartbeat.process) {
            let increase = Increase::between(&previous.heartbeat.state, &heartbeat.state);
            history.add(previous.heard_at, heard_at, &increase);
        }
        if matches!(&heartbeat.state, ProcessState::Worker(worker) if worker.stopped) {
            processes.remove(&heartbeat.process);
        } else {
            let process = Process { heartbeat: heartbeat.clone(), heard: now, heard_at };
            processes.insert(heartbeat.process, process);
        }
        state.note_readable(now);
    }

    /// The processes that were heard lately, in a stable order.
    pub fn processes(&self, now: Instant) -> Vec<HeardProcess> {
        let state = self.lock();
        let mut heard: Vec<HeardProcess> = state
            .processes
            .values()
            .map(|process| HeardProcess {
                heartbeat: process.heartbeat.clone(),
                silent_for: now.saturating_duration_since(process.heard),
            })
            .filter(|process| process.silent_for < FORGET_AFTER)
            .collect();
        heard.sort_unstable_by_key(|process| process.heartbeat.process);
        heard
    }

    /// The seconds from `since` on that are complete.
    pub fn series(&self, since: i64) -> Series {
        let until = self.second() - COMPLETE_AFTER;
        self.lock().history.series(since, until)
    }

    /// The current second since the Unix epoch.
    pub fn second(&self) -> i64 {
        self.now().div_euclid(1_000)
    }

    /// Ends each second with the state of the queue, until `stop` is cancelled.
    pub async fn run(self, queue_estimate: QueueEstimate, stop: CancellationToken) -> anyhow::Result<()> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let now = Instant::now();
            self.end_seconds(Gauges::of(&queue_estimate, now));
        }
        Ok(())
    }

    fn end_seconds(&self, gauges: Gauges) {
        let second = self.second();
        let mut state = self.lock();
        let listening_since = state.listening_since;
        state.history.end_until(second, listening_since, gauges);
    }

    fn now(&self) -> i64 {
        self.0.clock.now().unix_millis()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
