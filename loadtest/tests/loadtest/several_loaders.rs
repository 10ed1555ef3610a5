//! Tests of several load generators that put one system under load at the same time.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::faulty_server::{Defect, FaultyServer};
use crate::loader::{Files, Outcome, command, run_command};

/// Long enough for both load generators to find the concert before the first of them books.
const PREPARATION: Duration = Duration::from_secs(5);

/// A concert for several load generators: the arguments that name it.
async fn shared_concert(url: &str, seats: &str) -> Result<String> {
    let output = command(&["create", "--url", url, "--seats", seats], &[]).output().await?;
    let printed = String::from_utf8(output.stdout)?;
    assert!(output.status.success() && printed.starts_with("--concert "), "{printed}");
    Ok(printed.trim().to_owned())
}

/// Runs two load generators that start at the same instant.
async fn run_two(url: &str, arguments: [&str; 2]) -> Result<[Outcome; 2]> {
    let start_at = humantime::format_rfc3339_millis(SystemTime::now() + PREPARATION);
    let start = |arguments: &str| {
        let files = Files::new()?;
        let arguments = format!("{arguments} --start-at {start_at} --lag-max 1m --settle-timeout 10s");
        Ok::<_, anyhow::Error>((run_command(url, &arguments, &[], &files).spawn()?, files))
    };
    let [(first, first_files), (second, second_files)] = [start(arguments[0])?, start(arguments[1])?];
    let first = Outcome::of(first.wait_with_output().await?, first_files)?;
    let second = Outcome::of(second.wait_with_output().await?, second_files)?;
    for outcome in [&first, &second] {
        assert_eq!(outcome.code, 0, "a load generator by itself finds nothing wrong: {}", outcome.printed);
    }
    Ok([first, second])
}

/// Runs a command with the files of both load generators, and returns its exit code and output.
async fn with_files(arguments: &[&str], files: &[&Path], more: &[&str]) -> Result<(i32, String)> {
    let output = command(arguments, &[]).args(files).args(more).output().await?;
    let printed = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    Ok((output.status.code().unwrap_or(-1), printed))
}

async fn verify(outcomes: &[Outcome; 2], more: &[&str]) -> Result<(i32, String)> {
    let journals = outcomes.each_ref().map(|outcome| outcome.files.journal());
    with_files(&["verify"], &journals.each_ref().map(PathBuf::as_path), more).await
}

async fn merge(outcomes: &[Outcome; 2], more: &[&str]) -> Result<(i32, String)> {
    let reports = outcomes.each_ref().map(|outcome| outcome.files.json());
    with_files(&["merge"], &reports.each_ref().map(PathBuf::as_path), more).await
}

#[tokio::test]
async fn two_load_generators_of_one_concert_become_one_report_and_one_proof() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let concert = shared_concert(&url, "40").await?;
    let rush = format!("rush --rate 100 --buyers 50 --group-size 1 {concert}");
    let outcomes = run_two(&url, [&rush, &format!("{rush} --seed 2")]).await?;

    let (code, printed) = verify(&outcomes, &["--exclusive"]).await?;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("100 requests, 100 tickets"), "{printed}");

    // Both reports are fine, but each load generator knows only its own sales.
    let (code, printed) = merge(&outcomes, &[]).await?;
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("their journals were not verified together"), "{printed}");

    let journals = outcomes.each_ref().map(|outcome| outcome.files.journal().display().to_string());
    // One journal says nothing about the sales of the other.
    let (code, printed) = merge(&outcomes, &["--journal", &journals[0]]).await?;
    assert_eq!(code, 2, "{printed}");
    assert!(printed.contains("the journals must be those of all reports"), "{printed}");

    let files = Files::new()?;
    let (json, html) = (files.json().display().to_string(), files.html().display().to_string());
    let together = ["--journal", &journals[0], "--journal", &journals[1], "--exclusive"];
    let more = [&together[..], &["--json", &json, "--html", &html, "--fail-if", "lost>0"]].concat();
    let (code, printed) = merge(&outcomes, &more).await?;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("from 2 load generators"), "{printed}");
    let merged: serde_json::Value = serde_json::from_slice(&std::fs::read(&json)?)?;
    assert_eq!(merged["counts"]["accepted"], 100);
    assert_eq!(merged["latencies"]["accept"]["count"], 100);
    assert_eq!((&merged["run"]["seats"], &merged["run"]["concerts"]), (&40.into(), &1.into()));
    assert_eq!(merged["loaders"].as_array().map(Vec::len), Some(2));
    let first_due = |number: usize| merged["loaders"][number]["first_due"].as_i64().context("no time");
    assert!((first_due(0)? - first_due(1)?).abs() < 2_000, "{}", merged["loaders"]);
    assert!(std::fs::read_to_string(&html)?.contains("from 2 load generators"));

    let (code, printed) =
        merge(&outcomes, &[&together[..], &["--fail-if", "accepted<1000000/s"]].concat()).await?;
    assert_eq!(code, 1, "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_seat_that_is_sold_to_two_load_generators_is_found_when_their_journals_are_verified_together()
-> Result<()> {
    let url = FaultyServer::start(Defect::SellsToEachRun).await?;
    let concert = shared_concert(&url, "40").await?;
    let spread = format!("spread --rate 100 --buyers 30 {concert}");
    let outcomes = run_two(&url, [&spread, &spread]).await?;
    let (code, printed) = verify(&outcomes, &[]).await?;
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("no seat is sold twice") && printed.contains("VIOLATED 30 times"), "{printed}");

    let journals = outcomes.each_ref().map(|outcome| outcome.files.journal().display().to_string());
    let (code, printed) = merge(&outcomes, &["--journal", &journals[0], "--journal", &journals[1]]).await?;
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("rules were violated by the loaders together"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_sale_that_no_load_generator_was_told_of_is_found_if_nobody_else_booked() -> Result<()> {
    let url = FaultyServer::start(Defect::InventsASale).await?;
    let concert = shared_concert(&url, "40").await?;
    let spread = |part: &str| format!("spread --rate 100 --buyers 10 {concert} --part {part}");
    let outcomes = run_two(&url, [&spread("1/2"), &spread("2/2")]).await?;
    let (code, printed) = verify(&outcomes, &[]).await?;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("20 confirmed"), "the parts overlap: {printed}");
    let (code, printed) = verify(&outcomes, &["--exclusive"]).await?;
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("but no client of any run received this sale"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_run_whose_start_time_has_passed_is_rejected() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let files = Files::new()?;
    let arguments = "spread --buyers 10 --start-at 2026-01-01T00:00:00Z";
    let outcome = Outcome::of(run_command(&url, arguments, &[], &files).output().await?, files)?;
    assert_eq!(outcome.code, 2, "{}", outcome.printed);
    assert!(outcome.printed.contains("the time of --start-at had passed"), "{}", outcome.printed);
    Ok(())
}
