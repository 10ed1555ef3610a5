//! Measures the broker and the database alone: upper limits for the results of the whole system.

pub mod batch;
pub mod publish;
pub mod settle;

use serde::{Deserialize, Serialize};

/// A rate that the whole system cannot exceed on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineResult {
    /// What was measured.
    pub what: String,
    pub bookings_per_second: f64,
}
