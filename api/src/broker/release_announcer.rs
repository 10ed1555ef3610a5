//! Announces released seats to all api instances, as workers announce what they have sold.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use hamro_shared::queue::Release;
use tokio::sync::{Mutex, mpsc};
use tracing::debug;

use super::side_channel::SideChannel;

/// Releases that may wait to be announced. While the broker is unreachable, further ones are dropped: instances that miss
/// one converge (docs/ARCHITECTURE.md).
const BACKLOG: usize = 256;

/// Queues announcements.
#[derive(Clone)]
pub(super) struct ReleaseAnnouncer(mpsc::Sender<Vec<u8>>);

/// The queued announcements.
#[derive(Clone)]
pub(super) struct QueuedReleases(Arc<Mutex<mpsc::Receiver<Vec<u8>>>>);

pub(super) fn release_announcer() -> (ReleaseAnnouncer, QueuedReleases) {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    (ReleaseAnnouncer(sender), QueuedReleases(Arc::new(Mutex::new(receiver))))
}

impl ReleaseAnnouncer {
    /// Queues an announcement, or drops it if the queue is full. Never waits.
    pub fn announce(&self, release: &Release) {
        if self.0.try_send(release.encode()).is_err() {
            debug!("cannot announce a release: too many wait");
        }
    }
}

impl QueuedReleases {
    /// Sends the queued announcements. One that cannot be sent is dropped.
    pub async fn send_all(&self, channel: &mut SideChannel<'_>) -> Infallible {
        let mut queued = self.0.lock().await;
        while let Some(body) = queued.recv().await {
            if let Err(error) = channel.send(&body).await {
                debug!("cannot announce a release: {error:#}");
            }
        }
        pending().await
    }
}
