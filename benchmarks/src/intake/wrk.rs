//! wrk, a closed-loop load generator.

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// How long one measurement takes, in seconds.
pub const SECONDS: u32 = 8;

/// Connections that ask at the same time.
const CONNECTIONS: u32 = 256;

/// Requests answered a second with a 2xx, over keep-alive connections. `script` is Lua that makes the requests.
pub async fn rate(url: &str, script: Option<&str>) -> Result<f64> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{SECONDS}s")]);
    if let Some(script) = script {
        wrk.args(["-s", script]);
    }
    let output = wrk.arg(url).output().await.context("running wrk: `make bench-intake` installs it")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk {url}: {said}");
    ensure!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "not all was well: {said}");
    let rate =
        said.lines().find_map(|line| line.strip_prefix("Requests/sec:")).context("wrk says no rate")?;
    Ok(rate.trim().parse()?)
}

/// The script that books: every request another customer and another seat.
pub const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/intake/book.lua");
