//! The load generators of a report: one for a run, several if reports were merged.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use hamro_verification::machine::{LoaderCost, Machine};

/// A load generator and its machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loader {
    /// The name of its run.
    pub run: String,
    pub machine: Machine,
    /// The instance that it sent bookings to.
    pub url: String,
    /// The path of its journal, on its machine.
    pub journal: String,
    /// When its first buyer was due, in milliseconds since the Unix epoch, by the clock of its machine.
    pub first_due: i64,
    pub arrivals_seconds: f64,
    pub rate: f64,
    pub buyers: u64,
    pub cost: LoaderCost,
    /// The p99 of its start lag and the limit, in microseconds.
    pub lag_p99: u64,
    pub lag_limit: u64,
    /// The number of requests that waited for a connection.
    pub waited: u64,
    pub in_flight_max: usize,
    pub concerts: Vec<BookedConcert>,
}

/// A concert whose seats buyers could book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookedConcert {
    pub id: Uuid,
    pub seats: usize,
    /// The seats that were free before the run.
    pub free: usize,
    /// Whether the concert was created for this run.
    pub is_exclusive: bool,
}

impl Loader {
    /// Whether the load generator started its requests on time.
    pub fn was_late(&self) -> bool {
        self.lag_p99 > self.lag_limit
    }
}
