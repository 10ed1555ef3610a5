//! Tells the other api instances how many bookings this one has published.

use std::convert::Infallible;

use hamro_shared::queue::HeartbeatSchedule;
use lapin::Connection;
use tracing::debug;

use super::side_channel::SideChannel;
use crate::outcomes::queue_estimate::QueueEstimate;

/// Sends the heartbeats of this instance.
pub(super) struct HeartbeatSender<'a> {
    channel: SideChannel<'a>,
    queue_estimate: QueueEstimate,
}

impl<'a> HeartbeatSender<'a> {
    pub fn new(connection: &'a Connection, exchange: String, queue_estimate: QueueEstimate) -> Self {
        Self { channel: SideChannel::new(connection, exchange), queue_estimate }
    }

    /// Sends heartbeats. One that cannot be sent is skipped.
    pub async fn send_all(&mut self) -> Infallible {
        let queue_estimate = self.queue_estimate.clone();
        let mut schedule = HeartbeatSchedule::default();
        loop {
            let state = schedule.next(|| queue_estimate.published()).await;
            if self.channel.is_blocked() {
                continue;
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
