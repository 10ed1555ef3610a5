//! wrk, a closed-loop load generator.

use std::fmt::Display;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// How long one measurement takes, in seconds.
pub const SECONDS: u32 = 8;

/// Connections that ask at the same time.
const CONNECTIONS: u32 = 256;

/// The script that books: every request another customer and another seat.
pub const BOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/intake/book.lua");
/// The script that books seats in turn, from arguments: the path, the first seat and the number of seats.
pub const BOOK_AGAIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/intake/book_again.lua");

/// A measurement, over keep-alive connections.
pub struct Wrk<'a> {
    url: &'a str,
    seconds: u32,
    headers: &'a [(&'a str, String)],
    script: Option<(&'a str, Vec<String>)>,
}

/// What wrk has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Responses per second with a status below 400.
    pub rate: f64,
    /// The others per second.
    pub refused: f64,
    pub bytes_per_second: f64,
    /// Requests without a response in the whole measurement.
    pub broken: f64,
}

impl<'a> Wrk<'a> {
    pub fn new(url: &'a str) -> Self {
        Self { url, seconds: SECONDS, headers: &[], script: None }
    }

    pub fn seconds(self, seconds: u32) -> Self {
        Self { seconds, ..self }
    }

    pub fn headers(self, headers: &'a [(&'a str, String)]) -> Self {
        Self { headers, ..self }
    }

    /// Lua that makes the requests, and its arguments.
    pub fn script(self, path: &'a str, arguments: &[&dyn Display]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { script: Some((path, arguments)), ..self }
    }

    pub async fn run(self) -> Result<Measured> {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{}s", self.seconds), "--timeout=10s"]);
        for (name, value) in self.headers {
            wrk.args(["-H", &format!("{name}: {value}")]);
        }
        if let Some((path, _)) = self.script {
            wrk.args(["-s", path]);
        }
        wrk.arg(self.url);
        if let Some((_, arguments)) = &self.script {
            wrk.arg("--").args(arguments);
        }
        let output = wrk.output().await.context("running wrk: `make bench-intake` installs it")?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk {}: {said}", self.url);
        read(&said).with_context(|| format!("wrk says: {said}"))
    }
}

/// Requests answered a second with a 2xx. `script` is Lua that makes the requests.
pub async fn rate(url: &str, script: Option<&str>) -> Result<f64> {
    let wrk = Wrk::new(url);
    let measured = match script {
        Some(script) => wrk.script(script, &[]).run().await?,
        None => wrk.run().await?,
    };
    ensure!(measured.refused + measured.broken == 0.0, "not all was well: {measured:?}");
    Ok(measured.rate)
}

/// Reads wrk's report.
fn read(said: &str) -> Result<Measured> {
    let after = |name: &str| said.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let all: f64 = after("Requests/sec:").context("no rate")?.parse()?;
    let summary = said.lines().find(|line| line.contains(" requests in ")).context("no summary")?;
    let (requests, rest) = summary.trim().split_once(" requests in ").context("no number of requests")?;
    let received =
        rest.split_once(", ").and_then(|(_, read)| read.strip_suffix(" read")).context("no size")?;
    let requests: f64 = requests.parse()?;
    let refused: f64 = after("Non-2xx or 3xx responses:").map_or(Ok(0.0), str::parse)?;
    // Such as: connect 0, read 12, write 0, timeout 3.
    let errors = after("Socket errors:").unwrap_or_default().split(|letter: char| !letter.is_ascii_digit());
    let (refused_share, per_request) = (refused / requests.max(1.0), bytes(received)? / requests.max(1.0));
    Ok(Measured {
        rate: all * (1.0 - refused_share),
        refused: all * refused_share,
        bytes_per_second: all * per_request,
        broken: errors.filter_map(|number| number.parse::<f64>().ok()).sum(),
    })
}

/// A size such as `1.27GB`.
fn bytes(text: &str) -> Result<f64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let factor = match &text[end..] {
        "B" => 1.0,
        "KB" => 1024.0,
        "MB" => 1024.0 * 1024.0,
        "GB" => 1024.0 * 1024.0 * 1024.0,
        unit => anyhow::bail!("unknown unit {unit}"),
    };
    Ok(text[..end].parse::<f64>()? * factor)
}
