//! What the intake can do, each figure beside its limit in the same run. `make bench-intake` starts it.
//!
//! - `accept`: bookings accepted a second, beside the same server without a broker, and beside a bare publisher
//! - `polls`: status polls a second behind the watermark, and what they cost the database
//! - `streams`: the memory of ten thousand open event streams, and how soon all of them hear how their tickets ended
//! - `latency`: how long a booking takes to be accepted at a steady rate, beside a bare publish at the same rate
//!
//! Arguments pick some of them; without any, all are run.

mod accept;
mod bare;
mod latency;
mod polls;
mod streams;
mod wrk;

use anyhow::{Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

#[tokio::main]
async fn main() -> Result<()> {
    // Ten thousand streams are as many open files.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    // cargo bench adds --bench.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if chosen.first().is_some_and(|argument| argument == bare::SERVE) {
        return bare::serve().await;
    }
    for name in &chosen {
        if !["accept", "polls", "streams", "latency"].contains(&name.as_str()) {
            bail!("there is no benchmark {name}: accept, polls, streams and latency are what there is");
        }
    }
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    if is_chosen("accept") {
        accept::run().await?;
    }
    if is_chosen("polls") {
        polls::run().await?;
    }
    if is_chosen("streams") {
        streams::run().await?;
    }
    if is_chosen("latency") {
        latency::run().await?;
    }
    Ok(())
}
