//! What a worker can do, each figure beside its limit in the same run. `make bench-worker` starts it.
//!
//! - `batches`: the rate by `BATCH_MAX`, and the bare statements at the same sizes
//! - `sales`: what is drained a second where every booking is a sale, beside the bare statements, in a minute
//! - `drain`: what is drained a second, by kind of booking, beside the bare statements, and one booking at a time
//! - `scale`: the same with 1, 2 and 4 workers
//! - `latency`: from enqueued to settled at a steady rate, beside a bare publish and a bare commit at the same rate
//! - `growth`: the rate with ten million bookings in the database, beside that of an empty one. It takes long, and runs
//!   only when it is named.
//!
//! Arguments pick some of them.

mod bare;
mod cases;
mod drain;
mod growth;
mod kind;
mod latency;

use anyhow::{Result, bail};

#[tokio::main]
async fn main() -> Result<()> {
    // cargo bench adds --bench.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    for name in &chosen {
        if !["batches", "sales", "drain", "scale", "latency", "growth"].contains(&name.as_str()) {
            bail!(
                "there is no benchmark {name}: batches, sales, drain, scale, latency and growth are what there is"
            );
        }
    }
    let is_named = |name: &str| chosen.iter().any(|chosen| chosen == name);
    let is_chosen = |name: &str| chosen.is_empty() || is_named(name);
    if is_chosen("batches") {
        cases::batches().await?;
    }
    if is_named("sales") {
        cases::sales().await?;
    }
    if is_chosen("drain") {
        cases::drain().await?;
    }
    if is_chosen("scale") {
        cases::scale().await?;
    }
    if is_chosen("latency") {
        latency::run().await?;
    }
    if is_named("growth") {
        growth::run().await?;
    }
    Ok(())
}
