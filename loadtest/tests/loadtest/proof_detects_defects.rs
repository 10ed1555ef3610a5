//! Tests of the verification against a faulty server, and of the measurement against one that stalls.

use std::time::Duration;

use anyhow::Result;
use hamro_e2e::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::faulty_server::{Defect, FaultyServer};
use crate::loader::{Files, Outcome, command, run, run_command, verify, wait_for_word};

const SPREAD: &str = "spread --rate 200 --buyers 100 --shape constant --seats 200 --settle-timeout 1s";

#[tokio::test]
async fn a_correct_system_passes() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    for arguments in [SPREAD, "replay --rate 100 --buyers 40 --settle-timeout 1s"] {
        let outcome = run(&url, arguments, &[]).await?;
        assert_eq!(outcome.code, 0, "{}", outcome.printed);
        assert!(outcome.printed.contains("PASSED"), "{}", outcome.printed);
    }
    Ok(())
}

#[tokio::test]
async fn every_defect_is_detected_and_named() -> Result<()> {
    let rush = "rush --rate 200 --buyers 100 --seats 10 --group-size 1 --settle-timeout 1s";
    let replay = "replay --rate 100 --buyers 20 --settle-timeout 1s";
    let streams = format!("{SPREAD} --follow sse");
    for (defect, arguments, rule) in [
        (
            Defect::SellsASeatTwice,
            "hot-seat --rate 200 --buyers 20 --settle-timeout 1s",
            "no-seat-sold-twice",
        ),
        (Defect::LosesATicket, SPREAD, "every-ticket-ends"),
        (Defect::ForgetsATicket, SPREAD, "every-ticket-ends"),
        (Defect::ChangesItsMind, SPREAD, "final-status-never-changes"),
        (Defect::TakesItBack, SPREAD, "final-status-never-changes"),
        (Defect::StreamTakesItBack, streams.as_str(), "final-status-never-changes"),
        (Defect::GivesAnotherSeat, SPREAD, "only-what-was-requested"),
        (Defect::RefusesAFreeSeat, SPREAD, "refusals-are-true"),
        (Defect::RefusesOnAcceptance, SPREAD, "refusals-are-true"),
        (Defect::RefusesItsOwnKey, replay, "refusals-are-true"),
        (Defect::NamesNoSeat, rush, "refusals-are-true"),
        (Defect::NamesAnotherSeat, rush, "refusals-are-true"),
        (Defect::ForgetsKeys, replay, "one-outcome-per-key"),
        (Defect::HandsOutATicketTwice, SPREAD, "tickets-are-unique"),
        (Defect::HidesASale, rush, "seat-map-agrees"),
        (Defect::InventsASale, SPREAD, "seat-map-agrees"),
        (Defect::Miscounts, rush, "tiers-agree"),
    ] {
        let url = FaultyServer::start(defect).await?;
        let outcome = run(&url, arguments, &[]).await?;
        assert_eq!(outcome.code, 1, "{defect:?}: {}", outcome.printed);
        assert!(outcome.broken().contains(&rule), "{defect:?}: {:?}\n{}", outcome.broken(), outcome.printed);
        assert!(outcome.printed.contains("FAILED"), "{defect:?}: {}", outcome.printed);
    }
    Ok(())
}

/// Long enough to read final statuses again after more than a second.
const UNHURRIED: &str = "spread --rate 200 --buyers 100 --shape constant --seats 200 --settle-timeout 20s";

#[tokio::test]
async fn an_instance_that_lags_by_more_than_a_second_is_detected() -> Result<()> {
    let (url, other) = FaultyServer::start_two(Defect::LagsBehind(Duration::MAX)).await?;
    let outcome = run(&url, &format!("{UNHURRIED} --other-url {other}"), &[]).await?;
    assert_eq!(outcome.code, 1, "{}", outcome.printed);
    assert_eq!(outcome.broken(), ["final-status-never-changes"], "{}", outcome.printed);
    assert!(outcome.printed.contains("and then queued by instance 1"), "{}", outcome.printed);
    Ok(())
}

#[tokio::test]
async fn an_instance_that_lags_by_less_than_a_second_passes() -> Result<()> {
    let (url, other) = FaultyServer::start_two(Defect::LagsBehind(Duration::from_millis(500))).await?;
    let outcome = run(&url, &format!("{UNHURRIED} --other-url {other}"), &[]).await?;
    assert_eq!(outcome.code, 0, "{}", outcome.printed);
    let proof = &outcome.report["proof"];
    assert!(proof["read_again"].as_u64() > Some(0), "{}", outcome.printed);
    assert!(proof["read_again_elsewhere"].as_u64() > Some(0), "{}", outcome.printed);

    // The second instance has lagged. The verification of the journal uses the times in it.
    let journal = std::fs::read_to_string(outcome.files.journal())?;
    let lagged = journal.lines().find(|line| line.contains("\"unsettled\"")).unwrap_or_default();
    assert!(lagged.contains("\"queued\"") && lagged.contains("\"instance\":1"), "{journal}");
    let (code, printed) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 0, "{printed}");
    // The same read, but a minute later.
    let late = lagged.replace("\"sent\":", "\"sent\":60");
    std::fs::write(outcome.files.journal(), journal.replace(lagged, &late))?;
    let (code, printed) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("and then queued by instance 1"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_journal_of_the_previous_version_can_be_verified() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let outcome = run(&url, SPREAD, &[]).await?;
    let journal = std::fs::read_to_string(outcome.files.journal())?;
    let mut old = String::new();
    for line in journal.lines() {
        let mut entry: Value = serde_json::from_str(line)?;
        if let Some(header) = entry.get_mut("run") {
            header["version"] = 1.into();
        }
        if let Some(status) = entry.get_mut("final").and_then(Value::as_object_mut) {
            status.retain(|field, _| ["ticket", "outcome"].contains(&field.as_str()));
        }
        let entry = entry.to_string();
        let entry = entry.replace("{\"final\":", "{\"told\":").replace("{\"request\":", "{\"asked\":");
        old.push_str(&entry);
        old.push('\n');
    }
    for name in ["told", "asked", "version"] {
        assert!(old.contains(&format!("\"{name}\":")), "{old}");
    }
    std::fs::write(outcome.files.journal(), old)?;
    let (code, printed) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 0, "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_status_that_changes_after_the_run_is_detected_by_verify() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let outcome = run(&url, SPREAD, &[]).await?;
    assert_eq!(outcome.code, 0, "{}", outcome.printed);
    let (code, printed) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 0, "{printed}");
    // The same journal, as if the system had reported another booking.
    let journal = std::fs::read_to_string(outcome.files.journal())?;
    let line = journal.lines().find(|line| line.contains("\"final\"")).unwrap_or_default();
    assert!(line.contains("\"id\":"), "{line}");
    std::fs::write(outcome.files.journal(), journal.replace(line, &line.replace("\"id\":", "\"id\":9")))?;
    let (code, printed) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("VIOLATED") && printed.contains("a final status never changes"), "{printed}");
    Ok(())
}

/// A load generator that waits for responses would never send the request that this server waits for. One that measured
/// from the time of sending would find almost all responses fast.
#[tokio::test]
async fn a_stalled_system_receives_requests_on_time_and_latencies_count_from_the_due_time() -> Result<()> {
    let url = FaultyServer::start(Defect::StallsUntil(210)).await?;
    let outcome = run(&url, "spread --rate 200 --buyers 600 --shape constant", &[]).await?;
    // 200 requests at 200 per second: the stall lasts a second, and half of these requests wait for more than half of
    // it. A generator that waited for responses would have sent few of them, and each of those late.
    let accept = &outcome.report["latencies"]["accept"];
    assert_eq!(accept["count"], 600, "{}", outcome.printed);
    assert!(accept["p90"].as_u64() > Some(400_000), "{}", outcome.printed);
    assert!(accept["max"].as_u64() > Some(900_000), "{}", outcome.printed);
    Ok(())
}

#[tokio::test]
async fn a_run_fails_if_the_load_generator_itself_was_too_slow() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let late = run(&url, &format!("{SPREAD} --lag-max 0s"), &[]).await?;
    assert_eq!(late.code, 1, "{}", late.printed);
    assert!(late.printed.contains("could not sustain the rate"), "{}", late.printed);
    // Two hundred arrivals within two milliseconds.
    let burst = "spread --rate 100000 --buyers 200 --in-flight-max 1 --lag-max 1h";
    let capped = run(&url, burst, &[]).await?;
    assert_eq!(capped.code, 1, "{}", capped.printed);
    assert!(capped.printed.contains("waited for one of the 1 connections"), "{}", capped.printed);
    Ok(())
}

#[tokio::test]
async fn an_unreachable_target_is_reported() -> Result<()> {
    let outcome = run("http://127.0.0.1:1", SPREAD, &[]).await?;
    assert_eq!(outcome.code, 2, "{}", outcome.printed);
    assert!(outcome.printed.contains("http://127.0.0.1:1 does not respond"), "{}", outcome.printed);
    Ok(())
}

#[tokio::test]
async fn a_run_ends_if_the_target_stops_responding_and_accepted_tickets_are_verified() -> Result<()> {
    let url = FaultyServer::start(Defect::FallsSilent).await?;
    let outcome = run(&url, "spread --rate 10 --buyers 5000 --timeout 2s --shape constant", &[]).await?;
    assert_eq!(outcome.code, 1, "{}", outcome.printed);
    assert!(outcome.printed.contains("the target stopped responding"), "{}", outcome.printed);
    assert_eq!(outcome.report["proof"]["confirmed"], 9, "{}", outcome.printed);
    assert!(outcome.report["proof"]["ambiguous"].as_u64() > Some(0), "{}", outcome.printed);
    assert!(outcome.broken().is_empty(), "{}", outcome.printed);
    Ok(())
}

#[tokio::test]
async fn too_few_seats_and_a_missing_token_are_reported_before_anything_is_sent() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let small = run(&url, "spread --buyers 100 --seats 99", &[]).await?;
    assert_eq!(small.code, 2, "{}", small.printed);
    assert!(
        small.printed.contains("100 buyers need 100 free seats in this scenario, but there are 99"),
        "{}",
        small.printed
    );
    let denied = run(&url, SPREAD, &[("ADMIN_TOKEN", "")]).await?;
    assert_eq!(denied.code, 2, "{}", denied.printed);
    assert!(denied.printed.contains("ADMIN_TOKEN is not set"), "{}", denied.printed);
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_a_run_in_order_with_a_report() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let files = Files::new()?;
    let arguments = "spread --rate 50 --buyers 5000 --shape constant";
    let mut child = run_command(&url, arguments, &[], &files).spawn()?;
    wait_for_word(&mut child, "accepted").await?;
    kill(Pid::from_raw(i32::try_from(child.id().unwrap_or_default())?), Signal::SIGINT)?;
    let outcome = Outcome::of(child.wait_with_output().await?, files)?;
    assert_eq!(outcome.code, 130, "{}", outcome.printed);
    assert!(outcome.printed.contains("the run was interrupted"), "{}", outcome.printed);
    assert!(outcome.report["proof"]["confirmed"].as_u64() > Some(0), "{}", outcome.printed);
    assert!(outcome.broken().is_empty(), "{}", outcome.printed);
    let (code, printed) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 0, "{printed}");
    Ok(())
}

#[tokio::test]
async fn a_killed_load_generator_leaves_a_journal_that_can_be_verified() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let files = Files::new()?;
    let mut child = run_command(&url, "spread --rate 50 --buyers 5000", &[], &files).spawn()?;
    wait_until("the journal has an entry", async || {
        let journal = std::fs::read_to_string(files.journal()).unwrap_or_default();
        Ok(journal.contains("\"request\"").then_some(()))
    })
    .await?;
    child.kill().await?;
    let (code, printed) = verify(&files.journal(), &[]).await?;
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("the journal has no end"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn two_runs_can_be_compared() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let (a, b) = (run(&url, SPREAD, &[]).await?, run(&url, SPREAD, &[]).await?);
    let path = |outcome: &Outcome| outcome.files.json().display().to_string();
    let output = command(&["compare", &path(&a), &path(&b)], &[]).output().await?;
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("B / A") && printed.contains("accept p99"), "{printed}");
    let output = command(&["compare", &path(&a), "/dev/null"], &[]).output().await?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}

#[tokio::test]
async fn the_html_report_is_self_contained_and_has_the_verdict_and_the_charts() -> Result<()> {
    let url = FaultyServer::start(Defect::LosesATicket).await?;
    let outcome = run(&url, SPREAD, &[]).await?;
    let page = std::fs::read_to_string(outcome.files.html())?;
    assert!(page.contains("Failed") && page.contains("is not final"), "{page}");
    assert!(page.matches("<svg").count() >= 4, "{page}");
    for external in ["<script", "<link", "<img", "url(", "@import"] {
        assert!(!page.contains(external), "{external}");
    }
    Ok(())
}
