//! Tests of the scenario `opening`.

use anyhow::Result;
use hamro_e2e::{Deployment, Setup};
use serde_json::Value;

use crate::faulty_server::{Defect, FaultyServer};
use crate::loader::run;
use crate::system::passes;

/// The requests of the page before anything is booked, without the event stream.
const REQUESTS: u64 = 5;

fn count(visits: &Value, what: &str) -> u64 {
    visits[what].as_u64().unwrap_or_default()
}

/// Checks that all visitors loaded the page with all its requests. On a busy machine the api may refuse some, and then
/// the number of requests is unknown. Returns the number of complete visits.
fn check_requests(visits: &Value, visitors: u64, is_right: impl Fn(u64, u64) -> bool) -> u64 {
    let (complete, failed) = (count(visits, "complete"), count(visits, "failed"));
    assert!(complete > 0 && complete + failed == visitors, "{visits}");
    assert!(failed > 0 || is_right(count(visits, "requests"), visitors * REQUESTS), "{visits}");
    complete
}

#[tokio::test]
async fn visitors_load_the_whole_page_and_book_what_it_shows_as_free() -> Result<()> {
    Deployment::run(Setup { workers: 2, ..Setup::default() }, async |deployment| {
        let arguments = "opening --visits-per-second 30 --buyers 60 --seats 20 --book-share 0.8 --warm-share 0.4 \
                         --streams --stay 1m";
        let outcome = passes(deployment, arguments).await?;
        let visits = &outcome.report["visits"];
        // Those who have seen the page before keep the style sheet, the script and the seat layout.
        let complete = check_requests(visits, 60, |requests, expected| {
            (expected - requests) % 3 == 0 && (expected - 3 * 60..expected).contains(&requests)
        });
        assert!(count(visits, "not_modified") > 0, "{visits}");
        assert!(count(visits, "decoded_bytes") > 2 * count(visits, "received_bytes"), "{visits}");
        assert_eq!(visits["streams"]["opened"], complete, "{visits}");
        assert!(count(&visits["streams"], "received_bytes") > 0, "{visits}");
        assert_eq!(outcome.report["latencies"]["visit"]["count"], complete);
        // Each takes at most four of the twenty seats. Buyers who see on the map that too few are left do not book.
        let proof = &outcome.report["proof"];
        let (sold, requests) = (count(proof, "seats_sold"), count(proof, "requests"));
        assert!(sold > 0 && requests >= sold / 4, "{proof}");
        assert!(outcome.printed.contains("40 % have seen it before, 80 % book"));
        assert!(outcome.printed.contains("visits of the page"), "{}", outcome.printed);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn visitors_whose_pages_receive_no_events_request_the_map_again() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let arguments = "opening --visits-per-second 30 --buyers 40 --seats 8 --book-share 1 --seed 7";
        let visits = &passes(deployment, arguments).await?.report["visits"];
        check_requests(visits, 40, |requests, expected| requests > expected);
        assert!(visits["streams"].is_null(), "{visits}");

        let arguments = "opening --visits-per-second 30 --buyers 20 --seats 8 --book-share 0";
        let looked = passes(deployment, arguments).await?;
        check_requests(&looked.report["visits"], 20, |requests, expected| requests == expected);
        assert_eq!(looked.report["proof"]["requests"], 0);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn failed_visits_are_counted_by_cause_and_limit_the_run() -> Result<()> {
    let opening =
        "opening --visits-per-second 100 --shape constant --buyers 50 --book-share 0 --seats 9 --tiers 1";
    let url = FaultyServer::start(Defect::RefusesPages).await?;
    let outcome = run(&url, opening, &[]).await?;
    let visits = &outcome.report["visits"];
    // One of the ten was the load generator's own.
    assert_eq!((count(visits, "complete"), count(visits, "failed")), (9, 41), "{}", outcome.printed);
    assert_eq!(visits["failures"]["status-503 of /assets/page-1.js"], 41, "{visits}");
    assert!(outcome.printed.contains("Limited by the target: 41 of 50 visits of the page failed"));

    let url = FaultyServer::start(Defect::RefusesPages).await?;
    let outcome = run(&url, &format!("{opening} --fail-if failed-visits>0"), &[]).await?;
    assert_eq!(outcome.code, 1, "{}", outcome.printed);

    let url = FaultyServer::start(Defect::CorruptsPages).await?;
    let outcome = run(&url, opening, &[]).await?;
    assert_eq!(outcome.code, 1, "{}", outcome.printed);
    assert!(outcome.printed.contains("1 different bodies could not be decompressed"), "{}", outcome.printed);
    Ok(())
}

#[tokio::test]
async fn a_system_without_what_the_page_requests_is_named_and_nothing_is_kept() -> Result<()> {
    let url = FaultyServer::start(Defect::HasNoLayouts).await?;
    let outcome = run(&url, "opening --seats 9 --tiers 1", &[]).await?;
    assert_eq!(outcome.code, 2, "{}", outcome.printed);
    for part in ["loading the booking page of concert", "/status has the status 404"] {
        assert!(outcome.printed.contains(part), "{part:?}: {}", outcome.printed);
    }
    assert!(!outcome.printed.contains("concert kept"), "{}", outcome.printed);

    let outcome = run(&url, "rush --streams", &[]).await?;
    assert_eq!(outcome.code, 2, "{}", outcome.printed);
    assert!(outcome.printed.contains("--streams is an option of the scenario opening, not of rush"));
    Ok(())
}
