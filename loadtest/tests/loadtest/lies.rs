//! The proof, against a system that lies; and the measurement, against one that stalls.

use std::time::Duration;

use anyhow::Result;
use hamro_e2e::wait_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::liar::{Liar, Lie};
use crate::loader::{Files, Outcome, command, run, run_command, verify, wait_for_word};

const SPREAD: &str = "spread --rate 200 --buyers 100 --shape constant --seats 200 --settle-timeout 1s";

#[tokio::test]
async fn an_honest_system_passes() -> Result<()> {
    let url = Liar::start(Lie::None).await?;
    for arguments in [SPREAD, "replay --rate 100 --buyers 40 --settle-timeout 1s"] {
        let outcome = run(&url, arguments, &[]).await?;
        assert_eq!(outcome.code, 0, "{}", outcome.said);
        assert!(outcome.said.contains("PASSED"), "{}", outcome.said);
    }
    Ok(())
}

#[tokio::test]
async fn every_lie_is_caught_and_told_by_its_name() -> Result<()> {
    let rush = "rush --rate 200 --buyers 100 --seats 10 --party 1 --settle-timeout 1s";
    let replay = "replay --rate 100 --buyers 20 --settle-timeout 1s";
    let streams = format!("{SPREAD} --follow sse");
    for (lie, arguments, rule) in [
        (Lie::SellsASeatTwice, "hot-seat --rate 200 --buyers 20 --settle-timeout 1s", "no-seat-twice"),
        (Lie::LosesATicket, SPREAD, "every-ticket-ends"),
        (Lie::ForgetsATicket, SPREAD, "every-ticket-ends"),
        (Lie::ChangesItsMind, SPREAD, "never-changes"),
        (Lie::TakesItBack, SPREAD, "never-changes"),
        (Lie::StreamTakesItBack, streams.as_str(), "never-changes"),
        (Lie::GivesAnotherSeat, SPREAD, "just-what-was-asked"),
        (Lie::RefusesAFreeSeat, SPREAD, "no-free-seat-refused"),
        (Lie::ForgetsKeys, replay, "one-key-one-booking"),
        (Lie::HandsOutATicketTwice, SPREAD, "one-ticket-each"),
        (Lie::HidesASale, rush, "map-agrees"),
        (Lie::InventsASale, SPREAD, "map-agrees"),
        (Lie::Miscounts, rush, "tiers-agree"),
    ] {
        let url = Liar::start(lie).await?;
        let outcome = run(&url, arguments, &[]).await?;
        assert_eq!(outcome.code, 1, "{lie:?}: {}", outcome.said);
        assert!(outcome.broken().contains(&rule), "{lie:?}: {:?}\n{}", outcome.broken(), outcome.said);
        assert!(outcome.said.contains("FAILED"), "{lie:?}: {}", outcome.said);
    }
    Ok(())
}

/// With time to read final statuses again after more than a second.
const UNHURRIED: &str = "spread --rate 200 --buyers 100 --shape constant --seats 200 --settle-timeout 20s";

#[tokio::test]
async fn an_instance_that_answers_queued_longer_than_a_second_after_another_is_caught() -> Result<()> {
    let (url, other) = Liar::start_two(Lie::LagsBehind(Duration::MAX)).await?;
    let outcome = run(&url, &format!("{UNHURRIED} --other-url {other}"), &[]).await?;
    assert_eq!(outcome.code, 1, "{}", outcome.said);
    assert_eq!(outcome.broken(), ["never-changes"], "{}", outcome.said);
    assert!(outcome.said.contains("and then queued by instance 1"), "{}", outcome.said);
    Ok(())
}

#[tokio::test]
async fn an_instance_that_answers_queued_within_a_second_after_another_is_not_caught() -> Result<()> {
    let (url, other) = Liar::start_two(Lie::LagsBehind(Duration::from_millis(500))).await?;
    let outcome = run(&url, &format!("{UNHURRIED} --other-url {other}"), &[]).await?;
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    let proof = &outcome.report["proof"];
    assert!(proof["read_again"].as_u64() > Some(0), "{}", outcome.said);
    assert!(proof["read_again_elsewhere"].as_u64() > Some(0), "{}", outcome.said);

    // It has lagged, and the proof from the journal judges that by the times that are written there.
    let journal = std::fs::read_to_string(outcome.files.journal())?;
    let lagged = journal.lines().find(|line| line.contains("\"unsettled\"")).unwrap_or_default();
    assert!(lagged.contains("\"queued\"") && lagged.contains("\"instance\":1"), "{journal}");
    let (code, said) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 0, "{said}");
    // A minute later.
    let late = lagged.replace("\"sent\":", "\"sent\":60");
    std::fs::write(outcome.files.journal(), journal.replace(lagged, &late))?;
    let (code, said) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("and then queued by instance 1"), "{said}");
    Ok(())
}

#[tokio::test]
async fn a_journal_of_the_version_before_can_be_verified() -> Result<()> {
    let url = Liar::start(Lie::None).await?;
    let outcome = run(&url, SPREAD, &[]).await?;
    let journal = std::fs::read_to_string(outcome.files.journal())?;
    let mut old = String::new();
    for line in journal.lines() {
        let mut entry: Value = serde_json::from_str(line)?;
        if let Some(header) = entry.get_mut("run") {
            header["version"] = 1.into();
        }
        if let Some(told) = entry.get_mut("told").and_then(Value::as_object_mut) {
            told.retain(|field, _| ["ticket", "outcome"].contains(&field.as_str()));
        }
        old.push_str(&entry.to_string());
        old.push('\n');
    }
    assert!(old.contains("\"told\"") && old.contains("\"version\":1"), "{old}");
    std::fs::write(outcome.files.journal(), old)?;
    let (code, said) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 0, "{said}");
    Ok(())
}

#[tokio::test]
async fn a_lie_that_is_told_after_the_run_is_caught_when_the_journal_is_verified() -> Result<()> {
    let url = Liar::start(Lie::None).await?;
    let outcome = run(&url, SPREAD, &[]).await?;
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    let (code, said) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 0, "{said}");
    // The same journal, as if the system had told of another booking.
    let journal = std::fs::read_to_string(outcome.files.journal())?;
    let told = journal.lines().find(|line| line.contains("\"told\"")).unwrap_or_default();
    assert!(told.contains("\"id\":"), "{told}");
    std::fs::write(outcome.files.journal(), journal.replace(told, &told.replace("\"id\":", "\"id\":9")))?;
    let (code, said) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("BROKEN") && said.contains("a final status never changes"), "{said}");
    Ok(())
}

/// A loader that waits for answers would never send the request that this server waits for; and one that counts from when
/// it sends would find all but a few of the answers quick.
#[tokio::test]
async fn a_system_that_stalls_gets_every_request_when_it_is_due_and_every_one_counts_from_then() -> Result<()>
{
    let url = Liar::start(Lie::StallsUntil(210)).await?;
    let outcome = run(&url, "spread --rate 200 --buyers 600 --shape constant", &[]).await?;
    // 200 requests at 200 a second: the stall lasts a second, and half of them wait for more than half of it.
    let accept = &outcome.report["latencies"]["accept"];
    assert_eq!(accept["count"], 600, "{}", outcome.said);
    assert!(accept["p90"].as_u64() > Some(400_000), "{}", outcome.said);
    assert!(accept["max"].as_u64() > Some(900_000), "{}", outcome.said);
    assert!(accept["p50"].as_u64() < Some(100_000), "{}", outcome.said);
    Ok(())
}

#[tokio::test]
async fn a_measurement_that_this_program_itself_has_spoiled_fails_and_says_so() -> Result<()> {
    let url = Liar::start(Lie::None).await?;
    let late = run(&url, &format!("{SPREAD} --lag-max 0s"), &[]).await?;
    assert_eq!(late.code, 1, "{}", late.said);
    assert!(late.said.contains("could not offer the rate here"), "{}", late.said);
    // Two hundred arrivals within two milliseconds.
    let burst = "spread --rate 100000 --buyers 200 --in-flight-max 1 --lag-max 1h";
    let capped = run(&url, burst, &[]).await?;
    assert_eq!(capped.code, 1, "{}", capped.said);
    assert!(capped.said.contains("waited for one of the 1 connections"), "{}", capped.said);
    Ok(())
}

#[tokio::test]
async fn a_target_that_does_not_answer_is_said_plainly() -> Result<()> {
    let outcome = run("http://127.0.0.1:1", SPREAD, &[]).await?;
    assert_eq!(outcome.code, 2, "{}", outcome.said);
    assert!(outcome.said.contains("http://127.0.0.1:1 does not answer"), "{}", outcome.said);
    Ok(())
}

#[tokio::test]
async fn a_target_that_stops_answering_ends_the_run_and_what_was_accepted_is_proven() -> Result<()> {
    let url = Liar::start(Lie::FallsSilent).await?;
    let outcome = run(&url, "spread --rate 10 --buyers 5000 --timeout 2s --shape constant", &[]).await?;
    assert_eq!(outcome.code, 1, "{}", outcome.said);
    assert!(outcome.said.contains("the target stopped answering"), "{}", outcome.said);
    assert_eq!(outcome.report["proof"]["confirmed"], 9, "{}", outcome.said);
    assert!(outcome.report["proof"]["doubtful"].as_u64() > Some(0), "{}", outcome.said);
    assert!(outcome.broken().is_empty(), "{}", outcome.said);
    Ok(())
}

#[tokio::test]
async fn a_concert_that_is_too_small_and_a_missing_token_are_said_before_anything_is_sent() -> Result<()> {
    let url = Liar::start(Lie::None).await?;
    let small = run(&url, "spread --buyers 100 --seats 99", &[]).await?;
    assert_eq!(small.code, 2, "{}", small.said);
    assert!(
        small.said.contains("100 buyers need 100 free seats in this scenario, and there are 99"),
        "{}",
        small.said
    );
    let denied = run(&url, SPREAD, &[("ADMIN_TOKEN", "")]).await?;
    assert_eq!(denied.code, 2, "{}", denied.said);
    assert!(denied.said.contains("ADMIN_TOKEN is not set"), "{}", denied.said);
    Ok(())
}

#[tokio::test]
async fn ctrl_c_ends_a_run_in_order_with_all_that_was_measured() -> Result<()> {
    let url = Liar::start(Lie::None).await?;
    let files = Files::new()?;
    let arguments = "spread --rate 50 --buyers 5000 --shape constant";
    let mut child = run_command(&url, arguments, &[], &files).spawn()?;
    wait_for_word(&mut child, "accepted").await?;
    kill(Pid::from_raw(i32::try_from(child.id().unwrap_or_default())?), Signal::SIGINT)?;
    let outcome = Outcome::of(child.wait_with_output().await?, files)?;
    assert_eq!(outcome.code, 130, "{}", outcome.said);
    assert!(outcome.said.contains("it was interrupted"), "{}", outcome.said);
    assert!(outcome.report["proof"]["confirmed"].as_u64() > Some(0), "{}", outcome.said);
    assert!(outcome.broken().is_empty(), "{}", outcome.said);
    let (code, said) = verify(&outcome.files.journal(), &[]).await?;
    assert_eq!(code, 0, "{said}");
    Ok(())
}

#[tokio::test]
async fn a_loader_that_is_killed_leaves_a_journal_that_can_be_verified() -> Result<()> {
    let url = Liar::start(Lie::None).await?;
    let files = Files::new()?;
    let mut child = run_command(&url, "spread --rate 50 --buyers 5000", &[], &files).spawn()?;
    wait_until("something is in the journal", async || {
        let journal = std::fs::read_to_string(files.journal()).unwrap_or_default();
        Ok(journal.contains("\"asked\"").then_some(()))
    })
    .await?;
    child.kill().await?;
    let (code, said) = verify(&files.journal(), &[]).await?;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("the journal breaks off"), "{said}");
    Ok(())
}

#[tokio::test]
async fn two_runs_are_set_side_by_side() -> Result<()> {
    let url = Liar::start(Lie::None).await?;
    let (a, b) = (run(&url, SPREAD, &[]).await?, run(&url, SPREAD, &[]).await?);
    let path = |outcome: &Outcome| outcome.files.json().display().to_string();
    let output = command(&["compare", &path(&a), &path(&b)], &[]).output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("B / A") && said.contains("accept p99"), "{said}");
    let output = command(&["compare", &path(&a), "/dev/null"], &[]).output().await?;
    assert_eq!(output.status.code(), Some(2));
    Ok(())
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere_and_has_the_verdict_and_the_plots() -> Result<()> {
    let url = Liar::start(Lie::LosesATicket).await?;
    let outcome = run(&url, SPREAD, &[]).await?;
    let page = std::fs::read_to_string(outcome.files.html())?;
    assert!(page.contains("Failed") && page.contains("has not ended"), "{page}");
    assert!(page.matches("<svg").count() >= 4, "{page}");
    for elsewhere in ["<script", "<link", "<img", "url(", "@import"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    Ok(())
}
