//! Repeats the verification of earlier runs from their journals.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::report::{print, proof_table};
use crate::settings::Settings;
use hamro_verification::http::Client;
use hamro_verification::instance::Instance;
use hamro_verification::journal::{self, Header};
use hamro_verification::proof::joint::{JournalFacts, join};
use hamro_verification::proof::{Proof, RunFacts, follow_all, prove};
use hamro_verification::request_log::RequestLog;
use hamro_verification::run_log::RunLog;

/// How long to wait for tickets that are not final. Long after a run, a longer wait is useless.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(35);

pub async fn verify(
    journals: &[PathBuf],
    url: Option<&str>,
    exclusive: bool,
    settings: Settings,
) -> Result<ExitCode> {
    let proof = prove_journals(journals, url, exclusive, &settings).await?.proof;
    print(proof_table(&proof))?;
    let holds = proof.violations.is_empty();
    print(if holds { "\nPASSED: all rules still hold" } else { "\nFAILED" })?;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The verification of one or several journals.
pub struct JournalProof {
    pub runs: BTreeSet<String>,
    pub proof: Proof,
}

/// Verifies journals, each by itself, and several of them also together. `exclusive`: nobody else booked the concerts.
pub async fn prove_journals(
    journals: &[PathBuf],
    url: Option<&str>,
    exclusive: bool,
    settings: &Settings,
) -> Result<JournalProof> {
    let (mut runs, mut proved) = (BTreeSet::new(), Vec::new());
    for path in journals {
        let (mut header, run_log) = read(path)?;
        ensure!(runs.insert(header.name.clone()), "run {} is in two of the journals", header.name);
        let url = url.unwrap_or(&header.url).to_owned();
        let client = Client::new(&url, CONNECTIONS, TIMEOUT)?;
        client.get("/concerts?limit=1").await.with_context(|| format!("{client} does not respond"))?;
        let instance = Instance { number: instance_number(&header, &url)?, client: client.clone() };
        follow_all(&run_log, &[instance], Instant::now() + SETTLE_TIMEOUT, |_| {}).await;
        if journals.len() == 1 {
            header.is_exclusive |= exclusive;
        }
        let database = settings.database.as_ref();
        let proof = prove(&run_log, &header, &client, database, &RunFacts::default()).await;
        if journals.len() == 1 {
            return Ok(JournalProof { runs, proof });
        }
        let facts = JournalFacts::of(&header, &run_log.request_log());
        proved.push((facts, proof, client));
    }
    let client = proved.first().map(|(.., client)| client.clone()).context("there is no journal")?;
    let proved: Vec<_> = proved.into_iter().map(|(facts, proof, _)| (facts, proof)).collect();
    let proof = join(&proved, &client, exclusive).await;
    Ok(JournalProof { runs, proof })
}

fn read(path: &Path) -> Result<(Header, RunLog)> {
    let mut entries = Vec::new();
    let header = journal::read(path, |entry| entries.push(entry))?;
    let mut request_log = RequestLog::new(&header.name);
    for entry in entries {
        request_log.enter(entry);
    }
    Ok((header, RunLog::of(request_log)))
}

/// The number of the instance with this URL in the journal, or an unused number.
fn instance_number(header: &Header, url: &str) -> Result<u16> {
    let mut known = [&header.url].into_iter().chain(&header.other_urls);
    let same = |known: &String| known.trim_end_matches('/') == url.trim_end_matches('/');
    Ok(known.position(same).unwrap_or(1 + header.other_urls.len()).try_into()?)
}
