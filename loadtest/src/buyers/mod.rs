//! What the buyers of a run do.

mod herd;
mod polls;
mod replay;
mod wishes;

use std::time::Instant;

use anyhow::Result;

pub use herd::LiveMap;
pub use polls::Handed;
pub use wishes::Wishes;

use crate::scenario::Scenario;
use crate::stage::{SharedStage, Stage};

/// Who is on the stage: the scenario, and what its buyers share.
pub struct Cast {
    pub scenario: Scenario,
    pub wishes: Wishes,
    pub map: LiveMap,
    pub handed: Handed,
}

/// What has to be there before the first buyer is due.
pub async fn prepare(stage: &SharedStage) -> Result<()> {
    match stage.cast.scenario {
        Scenario::Herd => herd::watch(stage).await,
        Scenario::Polls => polls::first_ticket(stage).await,
        _ => Ok(()),
    }
}

/// What the buyer of this number does, who is due at this moment.
pub async fn arrive(stage: &Stage, number: u64, due: Instant) {
    match stage.cast.scenario {
        Scenario::Rush | Scenario::Spread | Scenario::HotSeat | Scenario::Soak => {
            let wish = stage.cast.wishes.of(number, &stage.hall);
            stage.book(number, wish, due).await;
        }
        Scenario::Herd => herd::arrive(stage, number, due).await,
        Scenario::Polls => polls::arrive(stage, number, due).await,
        Scenario::Replay => replay::arrive(stage, number, due).await,
    }
}
