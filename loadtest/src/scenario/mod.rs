//! What the buyers of a run do.

mod herd;
mod polls;
mod replay;
mod wishes;

use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use herd::LiveMap;
pub use polls::Handed;
pub use wishes::Wishes;

use crate::stage::{SharedStage, Stage};
use crate::wire::Target;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// All want some of the same few hundred seats, and most lose
    Rush,
    /// Everybody wants seats of their own
    Spread,
    /// All want one and the same seat
    HotSeat,
    /// All choose free seats from the live seat map, and choose again when they lose
    Herd,
    /// A storm of status polls, with a booking among a hundred
    Polls,
    /// Everybody asks three times under one idempotency key; now and then once for other seats
    Replay,
    /// As spread, for hours: does memory or latency drift?
    Soak,
}

impl Scenario {
    /// The seats that so many buyers, in parties of so many, need at least.
    pub fn seats_needed(self, buyers: u64, party: usize) -> usize {
        let buyers = usize::try_from(buyers).unwrap_or(usize::MAX);
        match self {
            Self::Rush | Self::Herd => party,
            Self::HotSeat => 1,
            Self::Spread | Self::Soak | Self::Replay => buyers.saturating_mul(party),
            // And one for the ticket that there is before the first poll.
            Self::Polls => (buyers / polls::POLLS_A_BOOKING + 2).saturating_mul(party),
        }
    }

    /// The seats of a concert that is made for it.
    pub fn usual_seats(self, buyers: u64, party: usize) -> usize {
        match self {
            Self::Rush | Self::Herd => 300.max(party),
            _ => self.seats_needed(buyers, party),
        }
    }

    /// The most seats that a buyer asks for, where nothing else is said.
    pub fn usual_party(self) -> usize {
        match self {
            Self::Rush | Self::Herd => 4,
            _ => 1,
        }
    }

    /// Whether it works by this contract.
    pub fn works_with(self, target: Target) -> bool {
        target == Target::Async || !matches!(self, Self::Herd | Self::Polls)
    }
}

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
