//! The controls of the intake: pause and resume.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use hamro_e2e::client::{ADMIN_TOKEN, ApiResponse, Client};
use hamro_e2e::{Deployment, Setup, wait_until};
use hyper::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{change, get, revision, set_controls};

/// How long it takes at most until every instance obeys a change.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

/// Nothing listens here.
const NO_DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://hamro@127.0.0.1:1/hamro");

fn two_apis(workers: usize) -> Setup {
    Setup { apis: 2, workers, ..Setup::default() }
}

/// What both booking endpoints respond with.
async fn book(client: &Client, customer: &str, seat: i64) -> Result<[ApiResponse; 2]> {
    let other = format!("{customer}-waiting");
    Ok([client.create_booking(customer, &[seat]).await?, client.book_seats(&other, &[seat]).await?])
}

/// Waits until this instance refuses or accepts bookings, as `/queue` says without using up anything.
async fn accepts(client: &Client, is_accepting: bool) -> Result<()> {
    wait_until(&format!("the intake is open: {is_accepting}"), async || {
        Ok((client.get("/queue").await?.body["accepting"] == is_accepting).then_some(()))
    })
    .await
}

async fn is_paused(client: &Client, seat: i64) -> Result<()> {
    for refused in book(client, "nobody", seat).await? {
        ensure!((refused.status, refused.code()) == (503, "intake-paused"), "{refused:?}");
        let wait: u64 = refused.header("retry-after").unwrap_or_default().parse()?;
        ensure!((20..=30).contains(&wait), "{refused:?}");
        ensure!(refused.header("location").is_none() && refused.body["ticketId"].is_null(), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pause_is_effective_on_every_instance_within_a_second_until_the_intake_is_resumed() -> Result<()> {
    Deployment::run(two_apis(1), async |deployment| {
        let [one, other] = [0, 1].map(|number| deployment.apis[number].client.clone());
        let seats = one.seat_ids(0).await?;
        let queued = one.create_booking("alice", &seats[..1]).await?;
        for (changed_on, paused) in [(&one, true), (&other, false), (&other, true), (&one, false)] {
            // The other instance may not know of the previous change for a moment.
            let revisions = wait_until("both know the same controls", async || {
                let revisions = (revision(&one).await?, revision(&other).await?);
                Ok((revisions.0 == revisions.1).then_some(revisions))
            })
            .await?;
            let started = Instant::now();
            let changed = set_controls(changed_on, paused, None).await?;
            assert_eq!(changed["revision"], revisions.0 + 1);
            accepts(&one, !paused).await?;
            accepts(&other, !paused).await?;
            let elapsed = started.elapsed();
            assert!(elapsed < EFFECTIVE_WITHIN, "it took {elapsed:?}");
            for client in [&one, &other] {
                if paused {
                    is_paused(client, seats[2]).await?;
                    // Everything else goes on.
                    assert_eq!(client.get("/health/ready").await?.status, 200);
                    assert_eq!(client.get("/concerts").await?.status, 200);
                    let invalid = client.create_booking("bob", &[]).await?;
                    assert_eq!(invalid.code(), "invalid-request");
                }
            }
            if paused {
                let ticket = queued.location()?;
                assert_eq!(other.final_status(ticket).await?["status"], "confirmed");
                let body = json!({"reason": "a test"});
                let released = other.write(Method::POST, &format!("{ticket}/release"), &body).await?;
                assert_eq!(released.status, 200, "{released:?}");
            }
        }
        for (number, client) in [&one, &other].into_iter().enumerate() {
            assert_eq!(client.book_seats(&format!("carol{number}"), &[seats[4 + number]]).await?.status, 201);
        }
        deployment.apis[1].process.line_after("the intake is paused without a limit (revision 1)").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pause_outlives_every_process() -> Result<()> {
    Deployment::run(two_apis(0), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        set_controls(deployment.client(), true, None).await?;
        // Dropping a process kills it.
        for mut api in std::mem::take(&mut deployment.apis) {
            api.process.signal(Signal::SIGKILL)?;
            api.process.ended().await?;
        }
        let number = deployment.launch_api(&[]).await?;
        let client = deployment.apis[number].client.clone();
        wait_until("it knows that the intake is paused", async || {
            let refused = client.create_booking("alice", &seats[..1]).await?;
            ensure!(refused.status == 503, "it was accepted: {refused:?}");
            Ok((refused.code() == "intake-paused").then_some(()))
        })
        .await?;
        client.wait_until_ready().await?;
        is_paused(&client, seats[0]).await
    })
    .await
}

#[tokio::test]
async fn an_instance_without_postgres_obeys_what_the_others_obey() -> Result<()> {
    Deployment::run(two_apis(0), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        set_controls(deployment.client(), true, Some(70)).await?;
        let number = deployment.launch_api(&[NO_DATABASE]).await?;
        let cut_off = deployment.apis[number].client.clone();
        wait_until("it knows that the intake is paused", async || {
            let refused = cut_off.create_booking("alice", &seats[..1]).await?;
            ensure!(refused.status == 503, "it was accepted: {refused:?}");
            Ok((refused.code() == "intake-paused").then_some(()))
        })
        .await?;
        let controls = get(&cut_off, "/ops/controls").await?.body;
        let known = json!({
            "intakePaused": true, "acceptPerSecond": 70, "concerts": [], "revision": 1, "changedAt": null,
            "changedBy": null, "reason": null, "isStored": false,
        });
        assert_eq!(controls, known);
        // It cannot change them, because that would not last.
        let refused = cut_off.write(Method::PUT, "/ops/controls", &change(1, false, None)).await?;
        assert_eq!((refused.status, refused.code()), (503, "database-unavailable"));
        set_controls(deployment.client(), false, None).await?;
        accepts(&cut_off, true).await
    })
    .await
}

#[tokio::test]
async fn an_instance_that_knows_no_controls_accepts_nothing_and_is_not_ready() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        let number = deployment.launch_api(&[NO_DATABASE]).await?;
        let client = deployment.apis[number].client.clone();
        // At first it has no connection to the broker either.
        let refused = wait_until("it is connected to the broker", async || {
            let refused = client.create_booking("alice", &[1]).await?;
            ensure!(refused.status == 503, "it was accepted: {refused:?}");
            Ok((refused.code() != "broker-unavailable").then_some(refused))
        })
        .await?;
        assert_eq!(refused.code(), "not-ready", "{refused:?}");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(client.get("/queue").await?.body["accepting"], false);
        assert_eq!(client.get("/health/ready").await?.status, 503);
        assert_eq!(get(&client, "/ops/controls").await?.code(), "not-ready");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn of_several_changes_at_once_one_is_made_and_the_others_show_its_result() -> Result<()> {
    Deployment::run(two_apis(0), async |deployment| {
        let clients = [0, 1].map(|number| deployment.apis[number].client.clone());
        for round in 0..5_i64 {
            let changes = (1..=10_u32).map(async |number| {
                let body = change(round, number % 2 == 0, Some(number));
                let client = &clients[number as usize % 2];
                client.write(Method::PUT, "/ops/controls", &body).await
            });
            let answers = try_join_all(changes).await?;
            let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
            assert_eq!(made.len(), 1, "{answers:?}");
            for answer in refused {
                assert_eq!((answer.status, answer.code()), (412, "precondition-failed"), "{answer:?}");
                assert_eq!(answer.body["controls"], made[0].body);
            }
        }
        let changes = get(&clients[0], "/ops/controls/changes").await?.body;
        let revisions: Vec<i64> =
            values(&changes).iter().filter_map(|entry| entry["revision"].as_i64()).collect();
        assert_eq!(revisions, [5, 4, 3, 2, 1], "{changes}");
        Ok(())
    })
    .await
}

fn values(changes: &Value) -> &[Value] {
    changes["changes"].as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test]
async fn every_change_is_recorded_with_its_author_and_its_reason() -> Result<()> {
    const ALICE: &str = "b0f3a1c2d4e5968778695a4b";
    let variables = vec![("ADMIN_TOKENS", "alice=b0f3a1c2d4e5968778695a4b")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let untouched = get(&client, "/ops/controls").await?;
        assert_eq!(untouched.header("cache-control"), Some("no-store"));
        let never = json!({
            "intakePaused": false, "acceptPerSecond": null, "concerts": [], "revision": 0, "changedAt": null,
            "changedBy": null, "reason": null, "isStored": true,
        });
        assert_eq!(untouched.body, never);
        set_controls(&client, false, Some(50)).await?;
        let body = json!({
            "intakePaused": true, "acceptPerSecond": 50, "revision": 1, "reason": "  The venue is flooded. ",
        });
        let request = client.request(Method::PUT, "/ops/controls").bearer_auth(ALICE).json(&body);
        let paused = Client::send(request).await?;
        assert_eq!((&paused.body["changedBy"], &paused.body["reason"]), (&"alice".into(), &"The venue is flooded.".into()));
        assert_eq!((&paused.body["isStored"], &paused.body["revision"]), (&true.into(), &2.into()));

        let changes = get(&client, "/ops/controls/changes").await?;
        assert_eq!(changes.header("cache-control"), Some("no-store"));
        let [newest, oldest] = values(&changes.body) else { panic!("{changes:?}") };
        let at = paused.body["changedAt"].clone();
        let expected = json!({
            "at": at, "by": "alice", "reason": "The venue is flooded.", "intakePaused": true, "acceptPerSecond": 50,
            "concerts": [], "revision": 2,
            "before": {"intakePaused": false, "acceptPerSecond": 50, "concerts": [], "revision": 1},
        });
        assert_eq!(newest, &expected);
        assert_eq!((&oldest["by"], &oldest["before"]["revision"]), (&"admin".into(), &0.into()));
        let earlier = get(&client, "/ops/controls/changes?before=2").await?.body;
        assert_eq!((values(&earlier), &earlier["next"]), (std::slice::from_ref(oldest), &Value::Null));
        let line = "administrator alice: the intake is paused with a limit of 50 bookings per second (revision 2), \
                    because: The venue is flooded.";
        deployment.apis[0].process.line_after(line).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_invalid_change_is_refused_with_every_wrong_field_and_changes_nothing() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        for (body, fields) in [
            (json!({}), &["intakePaused", "acceptPerSecond", "reason", "revision"][..]),
            // Without the limit, it would be removed by accident.
            (json!({"intakePaused": true, "reason": "x", "revision": 0}), &["acceptPerSecond"]),
            (json!({"intakePaused": true, "acceptPerSecond": 0, "reason": "x", "revision": 0}), &["acceptPerSecond"]),
            (json!({"intakePaused": true, "acceptPerSecond": -5, "reason": " ", "revision": -1}),
                &["acceptPerSecond", "reason", "revision"]),
            (json!({"intakePaused": true, "acceptPerSecond": 1_000_001, "reason": "x", "revision": 0}), &["acceptPerSecond"]),
            (json!({"intakePaused": true, "acceptPerSecond": 1.5, "reason": "x", "revision": 0}), &["acceptPerSecond"]),
            (json!({"intakePaused": "yes", "acceptPerSecond": null, "reason": 7, "revision": "1"}),
                &["intakePaused", "reason", "revision"]),
            (json!({"intakePaused": true, "acceptPerSecond": null, "reason": "x", "revision": 0, "paused": true}), &["paused"]),
            (json!({"intakePaused": true, "acceptPerSecond": null, "reason": "a\nb", "revision": 0}), &["reason"]),
        ] {
            let refused = client.write(Method::PUT, "/ops/controls", &body).await?;
            assert_eq!((refused.status, refused.code()), (422, "invalid-request"), "{body}: {refused:?}");
            let errors = refused.body["errors"].as_array().cloned().unwrap_or_default();
            let named: Vec<&str> = errors.iter().filter_map(|error| error["field"].as_str()).collect();
            assert!(fields.iter().all(|field| named.contains(field)), "{body}: {refused:?}");
        }
        let malformed = client.request(Method::PUT, "/ops/controls").bearer_auth(ADMIN_TOKEN);
        let malformed = Client::send(malformed.header("Content-Type", "application/json").body("{")).await?;
        assert_eq!((malformed.status, malformed.code()), (400, "malformed-request"));
        assert_eq!(malformed.header("cache-control"), Some("no-store"));
        for (method, path) in [
            (Method::GET, "/ops/controls"),
            (Method::PUT, "/ops/controls"),
            (Method::GET, "/ops/controls/changes"),
        ] {
            for token in [None, Some("not-the-right-token-at-all")] {
                let request = client.request(method.clone(), path).json(&change(0, true, None));
                let request = if let Some(token) = token { request.bearer_auth(token) } else { request };
                let refused = Client::send(request).await?;
                assert_eq!((refused.status, refused.code()), (401, "unauthorized"), "{method} {path}");
            }
        }
        let odd = get(&client, "/ops/controls/changes?before=x").await?;
        assert_eq!((odd.status, odd.code()), (422, "invalid-request"));
        assert_eq!(revision(&client).await?, 0);
        assert_eq!(client.get("/queue").await?.body["accepting"], true);
        Ok(())
    })
    .await
}
