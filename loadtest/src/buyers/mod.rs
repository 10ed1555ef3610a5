//! The behaviour of buyers in each scenario.

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

/// The scenario, and the state that its buyers share.
pub struct Cast {
    pub scenario: Scenario,
    pub wishes: Wishes,
    pub map: LiveMap,
    pub handed: Handed,
}

/// Prepares what the scenario needs before the first buyer arrives.
pub async fn prepare(stage: &SharedStage) -> Result<()> {
    match stage.cast.scenario {
        Scenario::Herd => herd::watch(stage).await,
        Scenario::Polls => polls::first_ticket(stage).await,
        _ => Ok(()),
    }
}

/// Runs the buyer with this number, who is due at this moment.
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
