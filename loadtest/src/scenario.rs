//! The kinds of runs there are.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::wire::Target;

/// In a storm of polls every so-manyth request is a booking.
pub const POLLS_A_BOOKING: usize = 100;

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
            Self::Polls => (buyers / POLLS_A_BOOKING + 2).saturating_mul(party),
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
