//! Tests of `docs/book-seats.ts`. Node.js runs it through `typescript_client/run.ts`, which injects network faults.

use std::convert::Infallible;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join;
use hamro_e2e::client::{Client, booking};
use hamro_e2e::{Deployment, Setup, tables};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{interval, timeout};

use crate::early_rejection::sold;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/bookings/typescript_client/run.ts");
const NODE: &str = "Node.js 22.18 or later must be on the PATH; `make test` installs it";
const TIMEOUT: Duration = Duration::from_mins(1);

/// Runs the TypeScript client on a network with this fault. Returns its `requests`, the `statuses` that it received,
/// and its result (`final`, `problem` or `error`).
async fn run_client(client: &Client, request: &Value, fault: &str) -> Result<Value> {
    let api = client.url("/");
    let mut node = Command::new("node");
    node.args([SCRIPT, &api, &request.to_string(), fault]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(TIMEOUT, node.output())
        .await
        .with_context(|| format!("the client timed out with the fault {fault}"))?
        .context(NODE)?;
    ensure!(output.status.success(), "{NODE}. It failed:\n{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the client printed no JSON")
}

/// Books the seats again and again: an instance forgets within a second what nobody asks for, and the client takes longer to
/// start.
async fn keep_booking(client: &Client, seats: &[i64]) -> Result<Infallible> {
    let mut pace = interval(Duration::from_millis(100));
    loop {
        pace.tick().await;
        client.create_booking("mallory", seats).await?;
    }
}

/// This field of each request that the client sent.
fn sent<'a>(run: &'a Value, field: &'a str) -> impl Iterator<Item = &'a Value> {
    run["requests"].as_array().into_iter().flatten().map(move |request| &request[field])
}

/// The kinds of the client's requests, in order: `book`, `events` or `poll`.
fn kinds(run: &Value) -> Vec<&str> {
    sent(run, "kind").filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn the_typescript_client_books_and_follows_the_event_stream() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let request = booking("alice", &seats[..2]);
        let (run, _) = try_join(run_client(&client, &request, "none"), deployment.start_worker(&[])).await?;
        assert_eq!(kinds(&run), ["book", "events"]);
        assert_eq!(run["final"]["status"], "confirmed", "{run}");
        assert_eq!(run["final"]["booking"]["seatIds"], json!(seats[..2]));
        let statuses = run["statuses"].as_array().context("no statuses")?;
        assert_eq!(statuses.first().map(|first| &first["status"]), Some(&json!("queued")));
        assert_eq!(statuses.last(), Some(&run["final"]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_typescript_client_resumes_a_broken_stream() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let request = booking("alice", &client.seat_ids(0).await?[..1]);
        let run = run_client(client, &request, "broken-stream").await?;
        assert_eq!(kinds(&run), ["book", "events", "events"]);
        assert_eq!(run["statuses"][1]["status"], "sorted", "an unknown status is reported, and is not final");
        assert!(sent(&run, "lastEventId").eq([&Value::Null, &Value::Null, &json!("sorted")]), "{run}");
        assert_eq!(run["final"]["status"], "confirmed", "{run}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_typescript_client_falls_back_to_polling_if_streams_fail() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        for (fault, streams, seat) in [
            ("refused-streams", 1, seats[0]),
            ("silent-streams", 1, seats[1]),
            ("broken-streams", 3, seats[2]),
        ] {
            let run = run_client(client, &booking(fault, &[seat]), fault).await?;
            assert_eq!(
                kinds(&run),
                [vec!["book"], vec!["events"; streams], vec!["poll"]].concat(),
                "{fault}"
            );
            assert_eq!(run["final"]["status"], "confirmed", "{run}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_typescript_client_retries_a_broken_connection_and_books_once() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let request = booking("alice", &client.seat_ids(0).await?[..1]);
        let run = run_client(client, &request, "lost-response").await?;
        assert_eq!(kinds(&run), ["book", "book", "events"]);
        assert_eq!(run["requests"][0]["key"], run["requests"][1]["key"]);
        assert_eq!(run["final"]["status"], "confirmed", "{run}");
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_typescript_client_honours_retry_after_and_retries_an_unknown_outcome() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let request = booking("alice", &client.seat_ids(0).await?[..1]);
        let run = run_client(client, &request, "unknown-outcome").await?;
        assert_eq!(kinds(&run), ["book", "book", "events"]);
        assert_eq!(run["requests"][0]["key"], run["requests"][1]["key"]);
        let at: Vec<i64> = sent(&run, "at").filter_map(Value::as_i64).collect();
        assert!(
            at[1] - at[0] >= 1000,
            "Retry-After was 1 s, but the requests were sent at {} and {} ms",
            at[0],
            at[1]
        );
        assert_eq!(run["final"]["status"], "confirmed", "{run}");
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_typescript_client_reports_a_rejection_without_retrying() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("bob", &seats[..1]).await?.status, 201);
        let refused = run_client(client, &booking("alice", &seats[..2]), "none").await?;
        assert_eq!(kinds(&refused), ["book", "events"]);
        assert_eq!(refused["final"]["status"], "rejected", "{refused}");
        assert_eq!(refused["final"]["problem"]["code"], "seats-taken");
        assert_eq!(refused["final"]["problem"]["seatIds"], json!(seats[..1]));

        let invalid = json!({"userName": " ", "userEmail": "alice@example.com", "seatIds": []});
        let invalid = run_client(client, &invalid, "none").await?;
        assert_eq!(kinds(&invalid), ["book"]);
        assert_eq!(
            (&invalid["problem"]["code"], &invalid["problem"]["status"]),
            (&json!("invalid-request"), &json!(422))
        );
        let fields = [&invalid["problem"]["errors"][0]["field"], &invalid["problem"]["errors"][1]["field"]];
        assert_eq!(fields, ["userName", "seatIds"], "{invalid}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_typescript_client_reports_seats_that_are_known_to_be_sold_without_following_a_ticket()
-> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        sold(client, &seats[..1]).await?;
        let wanted = booking("alice", &seats[..2]);
        let refused = tokio::select! {
            refused = run_client(client, &wanted, "none") => refused?,
            never = keep_booking(client, &seats[..1]) => match never? {},
        };
        assert_eq!(kinds(&refused), ["book"]);
        assert_eq!(refused["problem"]["code"], "seats-taken", "{refused}");
        assert_eq!(refused["problem"]["seatIds"], json!(seats[..1]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_typescript_client_stops_when_it_is_aborted() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let request = booking("alice", &client.seat_ids(0).await?[..1]);
        let run = run_client(&client, &request, "abort").await?;
        assert_eq!(kinds(&run), ["book", "events"]);
        assert!(run["error"].as_str().is_some_and(|error| error.starts_with("AbortError")), "{run}");
        deployment.start_worker(&[]).await?;
        Ok(())
    })
    .await
}
