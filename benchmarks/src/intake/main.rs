//! Benchmarks of the intake. Each measures its limit in the same run. `make bench-intake` runs them.
//!
//! - `accept`: bookings accepted per second, compared with the same server without a broker and with a bare publisher
//! - `polls`: status polls per second beyond the watermark, and the queries they cause
//! - `streams`: the memory of ten thousand open event streams, and the time until all have received their outcomes, in
//!   both modes of `EVENT_STREAMS`
//! - `reads`: what browsers read in the opening minute, and refusals of sold seats, each as a share of what the server can
//!   do without them
//! - `latency`: the time to accept a booking at a steady rate, compared with a bare publish at the same rate
//! - `attacks`: clients that try to take what the others need, and an honest client beside them; only if it is selected.
//!   `attacks-smoke` runs the same with few connections, and shows only that it works
//! - `maps`: memory and CPU time of an api that keeps the maps of 2 000 000 seats; only if it is selected
//! - `metrics`: the processor time per booking, compared with an api that counts nothing; only if it is selected, because
//!   it needs another build
//!
//! Arguments select benchmarks. Without arguments, all others run.

mod accept;
mod attacks;
mod bare;
mod latency;
mod maps;
mod metrics;
mod polls;
mod reads;
mod streams;
mod wrk;

use anyhow::{Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const NAMES: [&str; 9] =
    ["accept", "polls", "streams", "latency", "reads", "attacks", "attacks-smoke", "metrics", "maps"];

#[tokio::main]
async fn main() -> Result<()> {
    // Each of the ten thousand streams is an open file.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let selected: Vec<String> = std::env::args().skip(1).collect();
    if selected.first().is_some_and(|argument| argument == bare::SERVE) {
        return bare::serve().await;
    }
    for name in &selected {
        if !NAMES.contains(&name.as_str()) {
            bail!("unknown benchmark {name}; choose from {}", NAMES.join(", "));
        }
    }
    let is_selected = |name: &str| selected.is_empty() || selected.iter().any(|selected| selected == name);
    if is_selected("accept") {
        accept::run().await?;
    }
    if is_selected("polls") {
        polls::run().await?;
    }
    if is_selected("streams") {
        streams::run().await?;
    }
    if is_selected("latency") {
        latency::run().await?;
    }
    if is_selected("reads") {
        reads::run().await?;
    }
    if selected.iter().any(|selected| selected == "maps") {
        maps::run().await?;
    }
    if selected.iter().any(|selected| selected == "metrics") {
        metrics::run().await?;
    }
    for (name, is_smoke) in [("attacks", false), ("attacks-smoke", true)] {
        if selected.iter().any(|selected| selected == name) {
            attacks::run(is_smoke).await?;
        }
    }
    Ok(())
}
