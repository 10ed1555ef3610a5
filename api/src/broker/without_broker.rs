//! A stub for a benchmark: a publishing task that uses no broker. The programs do not contain it, because only the
//! benchmark calls it.

use super::publisher::BrokerState;
use super::publishing_task::PublishingTask;

impl PublishingTask {
    /// Confirms all bookings and publishes none. The benchmark of the intake measures the cost of HTTP alone with it.
    pub async fn confirm_without_broker(mut self) {
        self.state.send_replace(BrokerState::Up);
        while let Some(request) = self.requests.recv().await {
            request.receipt.send(Ok(()));
        }
    }
}
