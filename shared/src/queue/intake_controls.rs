//! What operators have decided about the bookings that api instances accept.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::domain::ConcertId;

/// What operators have decided about the intake of the whole installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntakeControls {
    /// Every change has the next revision, also one of a single concert. 0: nothing was ever changed.
    pub revision: i64,
    /// Whether all bookings are refused.
    pub intake_paused: bool,
    /// How many bookings all instances together may accept per second. `None`: no limit.
    pub accept_per_second: Option<NonZeroU32>,
}

/// What operators have decided about the bookings of one concert, in addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConcertControls {
    pub concert_id: ConcertId,
    /// Whether all bookings of its seats are refused.
    pub paused: bool,
    /// How many bookings of its seats all instances together may accept per second. `None`: no limit.
    pub accept_per_second: Option<NonZeroU32>,
}

impl ConcertControls {
    /// Whether nothing is decided about the concert.
    pub fn is_none(&self) -> bool {
        !self.paused && self.accept_per_second.is_none()
    }
}
