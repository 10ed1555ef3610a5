//! The booking page in Chromium. Each test runs one file of `page/tests/browser/`, with Node.js, on a deployment of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::ADMIN_TOKEN;
use hamro_e2e::{Deployment, Setup};
use nix::sys::signal::Signal;
use tokio::process::Command;
use tokio::time::timeout;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const FILES: &str = "page/tests/browser";
/// `make test` installs it.
const CHROMIUM: &str = "/usr/bin/chromium";
/// Less than nextest waits before it kills a test, so that the output is shown.
const TIMEOUT: Duration = Duration::from_mins(3);

/// Two workers, and an empty catalogue: every test creates the concerts that it needs.
fn setup() -> Setup {
    Setup { workers: 2, variables: vec![("SEED_ON_START", "false")], ..Setup::default() }
}

/// For files that freeze the workers: those lose their connections if that takes long, which they log as an error.
fn setup_with_frozen_workers() -> Setup {
    Setup { expects_errors: true, ..setup() }
}

/// Runs a file, and shows its output if one of its tests fails.
async fn run(name: &str, setup: Setup) -> Result<()> {
    Deployment::run(setup, async |deployment| {
        let workers = deployment.workers.iter().map(|worker| Ok(worker.id()?.to_string()));
        let workers: Vec<String> = workers.collect::<Result<_>>()?;
        let database = deployment.environment(&[]).into_iter().find(|(name, _)| name == "DATABASE_URL");
        let mut node = Command::new("node");
        node.args(["--test", "--test-isolation=none", "--test-reporter=spec"])
            .arg(format!("{FILES}/{name}.test.ts"))
            .current_dir(REPOSITORY)
            .envs(database)
            .env("HAMRO_API_URL", deployment.client().url("/"))
            .env("HAMRO_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("HAMRO_WORKER_PIDS", workers.join(","))
            .env("HAMRO_CHROMIUM", CHROMIUM)
            .env("HAMRO_BROWSER_FAILURES", concat!(env!("CARGO_MANIFEST_DIR"), "/../.dev/browser-failures"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        let status = timeout(TIMEOUT, node.status()).await;
        // A file that was killed may have left them frozen.
        for worker in &deployment.workers {
            worker.signal(Signal::SIGCONT)?;
        }
        let status = status
            .with_context(|| format!("{name}.test.ts timed out"))?
            .context("Node.js must be on the PATH; `make test` installs it")?;
        ensure!(status.success(), "{name}.test.ts failed: {status}; see its output");
        Ok(())
    })
    .await
}

#[test]
fn every_file_of_browser_tests_is_run_by_a_test() -> Result<()> {
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(Path::new(REPOSITORY).join(FILES))? {
        let name = entry?.file_name().into_string().ok().context("a file with an odd name")?;
        files.extend(name.strip_suffix(".test.ts").map(str::to_owned));
    }
    let calls = include_str!("browser.rs").split("    run(\"").skip(1);
    let run: BTreeSet<String> = calls.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect();
    assert_eq!(files, run);
    Ok(())
}

#[tokio::test]
async fn the_tools_of_browser_tests_do_what_they_say() -> Result<()> {
    run("harness", setup_with_frozen_workers()).await
}

#[tokio::test]
async fn a_visitor_finds_a_concert_and_books_a_seat() -> Result<()> {
    run("smoke", setup()).await
}

#[tokio::test]
async fn the_list_shows_what_can_be_booked() -> Result<()> {
    run("list", setup()).await
}

#[tokio::test]
async fn nothing_is_booked_or_charged_that_was_not_asked_for() -> Result<()> {
    run("booking", setup_with_frozen_workers()).await
}

#[tokio::test]
async fn an_open_page_follows_the_sale() -> Result<()> {
    run("sale", setup()).await
}

#[tokio::test]
async fn a_waiting_buyer_keeps_the_place_and_learns_the_outcome() -> Result<()> {
    run("waiting", setup_with_frozen_workers()).await
}

#[tokio::test]
async fn the_page_is_accessible_and_fits_every_window() -> Result<()> {
    run("look", setup_with_frozen_workers()).await
}

#[tokio::test]
async fn a_visit_takes_few_requests_and_a_large_map_stays_usable() -> Result<()> {
    run("budget", setup()).await
}

#[tokio::test]
async fn the_page_works_below_a_path_and_while_two_builds_run() -> Result<()> {
    run("proxy", setup()).await
}
