//! Benchmark of the worker. Each result is compared with an upper limit measured in the same run. `make bench-worker`
//! runs it.
//!
//! - `batches`: drain rate by `BATCH_MAX`, and the bare statements with the same batch sizes
//! - `sales`: drain rate if every booking is a sale, and the bare statements; takes a minute, runs only if named
//! - `drain`: drain rate by kind of booking, the bare statements, and one booking at a time
//! - `scale`: drain rate with 1, 2 and 4 workers
//! - `limit`: drain rate with and without a limit of seats per customer; runs only if named
//! - `latency`: from enqueued to settled at a fixed rate, and a bare publish and commit at the same rate
//! - `growth`: drain rate with ten million bookings in the database, and with none; takes long, runs only if named
//!
//! Arguments select benchmarks.

mod bare;
mod cases;
mod drain;
mod growth;
mod kind;
mod latency;

use anyhow::{Result, bail};

#[tokio::main]
async fn main() -> Result<()> {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    for name in &chosen {
        if !["batches", "sales", "drain", "scale", "limit", "latency", "growth"].contains(&name.as_str()) {
            bail!(
                "unknown benchmark {name}; the benchmarks are batches, sales, drain, scale, limit, latency and growth"
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
    if is_named("limit") {
        cases::limit().await?;
    }
    if is_chosen("latency") {
        latency::run().await?;
    }
    if is_named("growth") {
        growth::run().await?;
    }
    Ok(())
}
