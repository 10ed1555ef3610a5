//! What is asked for, and what is answered, as the contract has it. Only what the proof needs is read of an answer.

mod answer;
mod status;
mod wish;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use answer::Answer;
pub use status::{Outcome, Sale, Told};
pub use wish::{Wish, buyer_of, email};

/// Which of the two contracts bookings are made by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// `POST /ticket-bookings`: 202 and a ticket to follow
    Async,
    /// `POST /ticket-bookings/seats`: 201 or why not, as the earlier system has it too
    Sync,
}

impl Target {
    pub fn path(self) -> &'static str {
        match self {
            Self::Async => "/ticket-bookings",
            Self::Sync => "/ticket-bookings/seats",
        }
    }
}
