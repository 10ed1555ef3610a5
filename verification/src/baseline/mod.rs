//! Measures the broker and the database alone: upper limits for the results of the whole system.

pub mod batch;
pub mod publish;
pub mod settle;

use serde::{Deserialize, Serialize};

/// The part of a booking's way that a baseline measures alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Until the broker has confirmed the booking.
    Accept,
    /// Until the database has committed its outcome.
    #[default]
    Settle,
}

/// A rate that the whole system cannot exceed on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineResult {
    /// What was measured.
    pub what: String,
    /// Results of older versions do not say it; they were all compared with the rate of settled bookings.
    #[serde(default)]
    pub stage: Stage,
    pub bookings_per_second: f64,
}
