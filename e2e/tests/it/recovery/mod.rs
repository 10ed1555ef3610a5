//! Bookings outside the intake queue.

mod poison;
mod unrouted;

use anyhow::Result;
use hamro_e2e::Setup;
use hamro_e2e::deployment::envelope;
use hamro_shared::queue::Envelope;

/// Without workers. Workers that are started later run their poison isolator at once. Dead letters are logged as errors.
fn without_workers() -> Setup {
    let variables = vec![("REAPER_DELAY", "0s")];
    Setup { workers: 0, variables, expects_errors: true, ..Setup::default() }
}

/// One booking for each of these seats, with a different customer each.
fn envelopes(seats: &[i64]) -> Result<Vec<Envelope>> {
    seats.iter().map(|seat| envelope(&format!("customer{seat}"), &[*seat])).collect()
}
