//! Lets the buyers do what they do, from when they are due.

use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::task::TaskTracker;

use crate::pacer::Arrival;
use crate::scenario::arrive;
use crate::stage::SharedStage;

/// Starts every buyer who arrives, and never waits for an answer.
pub async fn drive(stage: &SharedStage, mut arrivals: UnboundedReceiver<Arrival>, buyers: &TaskTracker) {
    while let Some(Arrival { number, due }) = arrivals.recv().await {
        let stage = stage.clone();
        buyers.spawn(async move { arrive(&stage, number, due).await });
    }
}
