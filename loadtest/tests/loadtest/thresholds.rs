//! Tests of `--fail-if`.

use anyhow::Result;

use crate::faulty_server::{Defect, FaultyServer};
use crate::loader::run;

const SPREAD: &str = "spread --rate 200 --buyers 50 --shape constant --settle-timeout 5s";

#[tokio::test]
async fn a_run_passes_if_no_threshold_is_crossed_and_fails_if_one_is() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let met = "--fail-if violations>0 --fail-if lost>0 --fail-if accept.p99>60s --fail-if loader.memory>4GB";
    let passed = run(&url, &format!("{SPREAD} {met}"), &[]).await?;
    assert_eq!(passed.code, 0, "{}", passed.printed);
    assert_eq!(passed.report["thresholds"].as_array().map(Vec::len), Some(4));

    let crossed = run(&url, &format!("{SPREAD} {met} --fail-if accepted<1000000/s"), &[]).await?;
    assert_eq!(crossed.code, 1, "{}", crossed.printed);
    let last = &crossed.report["thresholds"][4];
    assert_eq!((&last["fail_if"], &last["has_failed"]), (&"accepted<1000000/s".into(), &true.into()));
    assert!(crossed.printed.contains("a threshold was crossed: accepted<1000000/s"), "{}", crossed.printed);
    let page = std::fs::read_to_string(crossed.files.html())?;
    assert!(page.contains("accepted&#60;1000000/s") && page.contains("FAILED"), "{page}");
    Ok(())
}

#[tokio::test]
async fn a_threshold_fails_if_nothing_was_measured() -> Result<()> {
    let url = FaultyServer::start(Defect::None).await?;
    let outcome = run(&url, &format!("{SPREAD} --fail-if poll.p99>60s"), &[]).await?;
    assert_eq!(outcome.code, 1, "{}", outcome.printed);
    assert!(outcome.printed.contains("poll.p99>60s (nothing measured)"), "{}", outcome.printed);
    Ok(())
}

#[tokio::test]
async fn an_unknown_metric_or_unit_is_rejected_before_the_run() -> Result<()> {
    // Nothing listens there: the program must not even try.
    let url = "http://127.0.0.1:1";
    for invalid in ["speed>1ms", "accept.p98>1ms", "accept.p99>1MB", "api.cpu>50%"] {
        let outcome = run(url, &format!("{SPREAD} --fail-if {invalid}"), &[]).await?;
        assert_eq!(outcome.code, 2, "{invalid}: {}", outcome.printed);
        assert!(!outcome.printed.contains("does not respond"), "{invalid}: {}", outcome.printed);
        let is_explained = outcome.printed.contains("accept, settle, poll, visit, queued or lag")
            || outcome.printed.contains("use µs, ms or s");
        assert!(is_explained, "{invalid}: {}", outcome.printed);
    }
    Ok(())
}
