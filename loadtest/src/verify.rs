//! Repeats the verification of an earlier run from its journal.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::books::Books;
use crate::http::Client;
use crate::instance::Instance;
use crate::journal::{self, Header};
use crate::ledger::Ledger;
use crate::proof::{follow_all, prove};
use crate::report::{proof_table, say};
use crate::run::Settings;

/// How long to wait for tickets that are not final. Long after a run, a longer wait is useless.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(35);

pub async fn verify(path: &Path, url: Option<&str>, settings: Settings) -> Result<ExitCode> {
    let mut entries = Vec::new();
    let header = journal::read(path, |entry| entries.push(entry))?;
    let mut ledger = Ledger::new(&header.name);
    for entry in entries {
        ledger.enter(entry);
    }
    let url = url.unwrap_or(&header.url);
    let client = Client::new(url, CONNECTIONS, TIMEOUT)?;
    client.get("/concerts?limit=1").await.with_context(|| format!("{client} does not respond"))?;

    let books = Books::of(ledger);
    let instance = Instance { number: instance_number(&header, url)?, client: client.clone() };
    follow_all(&books, &[instance], Instant::now() + SETTLE_TIMEOUT, |_| {}).await;
    let proof = prove(&books, &header, &client, settings.database.as_ref()).await;
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
