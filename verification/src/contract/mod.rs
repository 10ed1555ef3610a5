//! Requests and responses of the contract. Only the fields that the verification needs are read.

mod intent;
mod response;
mod status;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub use intent::{BookingIntent, buyer_of, email, email_pattern};
pub use response::BookingResponse;
pub use status::{ObservedStatus, Outcome, Sale, names_taken_seats};

/// The booking endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// `POST /ticket-bookings`: responds with 202 and a ticket
    #[default]
    Async,
    /// `POST /ticket-bookings/seats`: waits for the outcome; the earlier system has it too
    Sync,
}

impl Target {
    pub fn path(self) -> &'static str {
        match self {
            Self::Async => "/ticket-bookings",
            Self::Sync => "/ticket-bookings/seats",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
    pub(crate) fn is_async(&self) -> bool {
        *self == Self::Async
    }
}
