//! Once a second: completes a second of the timeline, shows progress, and ends the run if the target has stopped
//! responding.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::report::Progress;
use crate::run_context::RunContext;
use hamro_verification::http::Client;
use hamro_verification::processes::Process;

/// A target that has not responded to any request for this long has stopped.
pub const SILENCE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
struct QueueState {
    depth: Option<u64>,
}

pub struct Sampler {
    pub context: Arc<RunContext>,
    /// A separate client, so that it does not wait for connections of the load.
    pub client: Client,
    pub watched: Vec<Process>,
    pub progress: Progress,
    pub begin: Instant,
    /// Ends the arrivals.
    pub stop: CancellationToken,
    /// Set if the target has stopped responding.
    pub is_silent: AtomicBool,
}

impl Sampler {
    pub async fn run(&self, done: CancellationToken) {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        while done.run_until_cancelled(ticks.tick()).await.is_some() {
            let queue = self.queue_depth().await;
            let memory: BTreeMap<String, u64> = self
                .watched
                .iter()
                .filter_map(|watched| Some((watched.name.clone(), watched.resident_kilobytes()?)))
                .collect();
            let second = self.context.metrics.tick(self.begin.elapsed().as_secs_f64(), queue, memory);
            self.context.run_log.flush();
            self.progress.show(&second, &self.context.metrics.read());
            self.end_if_silent();
        }
    }

    fn end_if_silent(&self) {
        let data = self.context.metrics.read();
        let silent_for = data.last_response.max(self.begin).elapsed();
        let is_asked = data.in_flight > 0 || data.timeline.last().is_some_and(|second| second.lost > 0);
        if is_asked && silent_for > SILENCE && !self.stop.is_cancelled() {
            self.is_silent.store(true, Ordering::Relaxed);
            self.stop.cancel();
        }
    }

    /// The queue length that the target reports, if any.
    async fn queue_depth(&self) -> Option<u64> {
        let reply = self.client.get("/queue").await.ok()?;
        serde_json::from_slice::<QueueState>(&reply.body).ok()?.depth
    }
}
