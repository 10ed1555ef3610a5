//! The proof of an earlier run, made again from its journal.

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

/// What has not ended long after the run will not end within this.
const PATIENCE: Duration = Duration::from_secs(10);
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
    client.get("/concerts?limit=1").await.with_context(|| format!("{client} does not answer"))?;

    let books = Books::of(ledger);
    let instance = Instance { number: instance_number(&header, url)?, client: client.clone() };
    follow_all(&books, &[instance], Instant::now() + PATIENCE, |_| {}).await;
    let proof = prove(&books, &header, &client, settings.database.as_ref()).await;
    say(proof_table(&proof));
    let holds = proof.violations.is_empty();
    say(if holds { "\nPASSED: it holds still" } else { "\nFAILED" });
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Which instance of the journal this is, if it is one of them.
fn instance_number(header: &Header, url: &str) -> Result<u16> {
    let mut known = [&header.url].into_iter().chain(&header.other_urls);
    let same = |known: &String| known.trim_end_matches('/') == url.trim_end_matches('/');
    Ok(known.position(same).unwrap_or(1 + header.other_urls.len()).try_into()?)
}
