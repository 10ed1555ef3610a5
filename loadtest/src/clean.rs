//! Removes the concerts that load tests have created, and what was sold of them.

use std::io::{IsTerminal, Write, stderr, stdin};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use uuid::Uuid;

use crate::arguments::CleanArguments;
use crate::report::{counted, print};
use crate::settings::Settings;
use hamro_verification::catalogue::{CatalogueSetup, TestConcert};
use hamro_verification::http::Client;

/// A concert of 100 000 sold seats takes several seconds.
const TIMEOUT: Duration = Duration::from_mins(5);

pub async fn clean(arguments: CleanArguments, settings: Settings) -> Result<ExitCode> {
    let token = settings.admin_token.context("ADMIN_TOKEN is not set: it is required to remove concerts")?;
    let client = Client::new(&arguments.url, 1, TIMEOUT)?;
    let catalogue = CatalogueSetup::new(&client, &token);
    let concerts = catalogue.test_concerts().await?;
    if concerts.is_empty() {
        print(format!("{client} has no concerts of load tests"))?;
        return Ok(ExitCode::SUCCESS);
    }
    for TestConcert { id, title } in &concerts {
        print(format!("{id}  {title}"))?;
    }
    let what = counted(concerts.len() as u64, "concert", "concerts");
    if !arguments.yes && !is_confirmed(&format!("Remove {what} of {client} with what was sold?"))? {
        print("Nothing was removed")?;
        return Ok(ExitCode::SUCCESS);
    }
    let removed = remove_all(&catalogue, concerts.iter().map(|concert| concert.id)).await;
    print(removed.text)?;
    Ok(if removed.has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The result of a removal.
pub struct Removed {
    pub text: String,
    pub has_failed: bool,
}

/// Removes concerts, and says what was done.
pub async fn remove_all(catalogue: &CatalogueSetup<'_>, concerts: impl Iterator<Item = Uuid>) -> Removed {
    let (mut removed, mut failed) = (0, Vec::new());
    for concert in concerts {
        match catalogue.remove(concert).await {
            Ok(()) => removed += 1,
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    let removed = format!("{} removed", counted(removed, "concert", "concerts"));
    let has_failed = !failed.is_empty();
    Removed { text: [vec![removed], failed].concat().join("\n"), has_failed }
}

/// Asks on the terminal. Without one, `--yes` is required.
fn is_confirmed(question: &str) -> Result<bool> {
    if !stdin().is_terminal() {
        bail!("there is no terminal to ask on: use --yes");
    }
    let mut prompt = stderr();
    write!(prompt, "{question} [y/N] ").and_then(|()| prompt.flush()).context("asking for confirmation")?;
    let mut line = String::new();
    stdin().read_line(&mut line).context("reading the response")?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}
