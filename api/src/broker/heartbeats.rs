//! Tells the other api instances how many bookings this one has published, and which controls of the intake it obeys.

use std::convert::Infallible;

use hamro_shared::queue::{HeartbeatSchedule, ProcessState};
use lapin::Connection;
use tokio::time::Instant;
use tracing::debug;

use super::side_channel::SideChannel;
use crate::intake::Intake;
use crate::outcomes::queue_estimate::QueueEstimate;

/// Sends the heartbeats of this instance.
pub(super) struct HeartbeatSender<'a> {
    channel: SideChannel<'a>,
    queue_estimate: QueueEstimate,
    intake: Intake,
}

impl<'a> HeartbeatSender<'a> {
    pub fn new(
        connection: &'a Connection,
        exchange: String,
        queue_estimate: QueueEstimate,
        intake: Intake,
    ) -> Self {
        Self { channel: SideChannel::new(connection, exchange), queue_estimate, intake }
    }

    /// Sends heartbeats. One that cannot be sent is skipped.
    pub async fn send_all(&mut self) -> Infallible {
        let (queue_estimate, intake) = (self.queue_estimate.clone(), self.intake.clone());
        let describe = || ProcessState::Api(intake.complete(queue_estimate.published()));
        let mut schedule = HeartbeatSchedule::default();
        loop {
            let state = tokio::select! {
                state = schedule.next(describe) => state,
                // At once, besides the schedule.
                () = intake.changed_here() => describe(),
            };
            if self.channel.is_blocked() {
                continue;
            }
            if let ProcessState::Api(published) = &state {
                intake.on_own_heartbeat(published, Instant::now());
            }
            if let Err(error) = self.channel.send(&queue_estimate.heartbeat(state).encode()).await {
                debug!("cannot send a heartbeat: {error:#}");
            }
        }
    }

    pub async fn close(self) {
        self.channel.close().await;
    }
}
