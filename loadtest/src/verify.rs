//! Repeats the verification of an earlier run from its journal.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::report::{proof_table, say};
use crate::run::Settings;
use hamro_verification::http::Client;
use hamro_verification::instance::Instance;
use hamro_verification::journal::{self, Header};
use hamro_verification::proof::{RunFacts, follow_all, prove};
use hamro_verification::request_log::RequestLog;
use hamro_verification::run_log::RunLog;

/// How long to wait for tickets that are not final. Long after a run, a longer wait is useless.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(35);

pub async fn verify(path: &Path, url: Option<&str>, settings: Settings) -> Result<ExitCode> {
    let mut entries = Vec::new();
    let header = journal::read(path, |entry| entries.push(entry))?;
    let mut request_log = RequestLog::new(&header.name);
    for entry in entries {
        request_log.enter(entry);
    }
    let url = url.unwrap_or(&header.url);
    let client = Client::new(url, CONNECTIONS, TIMEOUT)?;
    client.get("/concerts?limit=1").await.with_context(|| format!("{client} does not respond"))?;

    let run_log = RunLog::of(request_log);
    let instance = Instance { number: instance_number(&header, url)?, client: client.clone() };
    follow_all(&run_log, &[instance], Instant::now() + SETTLE_TIMEOUT, |_| {}).await;
    let proof = prove(&run_log, &header, &client, settings.database.as_ref(), &RunFacts::default()).await;
    say(proof_table(&proof));
    let holds = proof.violations.is_empty();
    say(if holds { "\nPASSED: all rules still hold" } else { "\nFAILED" });
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The number of the instance with this URL in the journal, or an unused number.
fn instance_number(header: &Header, url: &str) -> Result<u16> {
    let mut known = [&header.url].into_iter().chain(&header.other_urls);
    let same = |known: &String| known.trim_end_matches('/') == url.trim_end_matches('/');
    Ok(known.position(same).unwrap_or(1 + header.other_urls.len()).try_into()?)
}
