//! The controls of single concerts: pause and resume.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::{ApiResponse, Client, booking};
use hamro_e2e::{Deployment, Setup, wait_until};
use hyper::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{get, set_concert_controls};

/// How long it takes at most until every instance obeys a change.
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

/// Nothing listens here.
const NO_DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://hamro@127.0.0.1:1/hamro");

fn two_apis(workers: usize) -> Setup {
    Setup { apis: 2, workers, ..Setup::default() }
}

/// The id of a demo concert, and the ids of its seats.
async fn demo_concert(client: &Client, number: usize) -> Result<(String, Vec<i64>)> {
    let (id, map) = client.seat_map(number).await?;
    let seats = map["seats"].as_array().context("no seats")?;
    Ok((id, seats.iter().filter_map(|seat| seat["id"].as_i64()).collect()))
}

/// Waits until a booking of this seat is refused because of a pause. Until then it may be accepted.
async fn becomes_paused(client: &Client, seat: i64) -> Result<ApiResponse> {
    wait_until("bookings of the seat are paused", async || {
        let response = client.create_booking("prober", &[seat]).await?;
        Ok((response.code() == "intake-paused").then_some(response))
    })
    .await
}

/// Both booking endpoints refuse these seats because of the pause of this concert.
async fn is_paused(client: &Client, concert: &str, body: &Value) -> Result<()> {
    for path in ["/ticket-bookings", "/ticket-bookings/seats"] {
        let refused = client.post(path, body).await?;
        ensure!((refused.status, refused.code()) == (503, "intake-paused"), "{refused:?}");
        ensure!(refused.body["concertId"] == concert, "{refused:?}");
        let detail = refused.body["detail"].as_str().unwrap_or_default();
        ensure!(detail.contains("this concert"), "{refused:?}");
        let wait: u64 = refused.header("retry-after").unwrap_or_default().parse()?;
        ensure!((20..=30).contains(&wait), "{refused:?}");
        ensure!(refused.header("location").is_none() && refused.body["ticketId"].is_null(), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_paused_concert_is_refused_on_every_instance_and_both_endpoints_while_others_are_booked()
-> Result<()> {
    Deployment::run(two_apis(1), async |deployment| {
        let [one, other] = [0, 1].map(|number| deployment.apis[number].client.clone());
        let (paused, seats) = demo_concert(&one, 0).await?;
        let (_, other_seats) = demo_concert(&one, 1).await?;
        let started = Instant::now();
        set_concert_controls(&other, &paused, true, None).await?;
        for client in [&one, &other] {
            becomes_paused(client, seats[0]).await?;
        }
        let elapsed = started.elapsed();
        assert!(elapsed < EFFECTIVE_WITHIN, "it took {elapsed:?}");
        for (number, client) in [&one, &other].into_iter().enumerate() {
            is_paused(client, &paused, &booking("bob", &seats[1..2])).await?;
            // A seat of each, and a seat that is of no such concert.
            is_paused(client, &paused, &booking("bob", &[other_seats[5], seats[1]])).await?;
            let mut named = booking("bob", &other_seats[5..6]);
            named["concertId"] = json!(paused);
            is_paused(client, &paused, &named).await?;
            let booked = client.book_seats(&format!("carol{number}"), &[other_seats[number]]).await?;
            assert_eq!(booked.status, 201, "{booked:?}");
            assert_eq!(client.get("/queue").await?.body["accepting"], true);
            assert_eq!(client.get("/health/ready").await?.status, 200);
        }
        for api in &mut deployment.apis {
            let metrics = api.process.metrics().await?;
            let concerts =
                ["hamro_intake_paused_concerts", "hamro_intake_limited_concerts", "hamro_intake_paused"];
            assert_eq!(concerts.map(|name| metrics.value(name, &[])), [Some(1.0), Some(0.0), Some(0.0)]);
            assert!(metrics.count("hamro_http_refusals_total", &[("code", "intake-paused")]) >= 6.0);
        }
        set_concert_controls(&one, &paused, false, None).await?;
        for (number, client) in [&one, &other].into_iter().enumerate() {
            wait_until("the concert is resumed", async || {
                let booked = client.book_seats(&format!("dave{number}"), &[seats[2 + number]]).await?;
                Ok((booked.status == 201).then_some(()))
            })
            .await?;
        }
        let line = "the intake is open without a limit, with controls of one concert (revision 1)";
        deployment.apis[0].process.line_after(line).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_seat_that_is_added_to_a_paused_concert_is_refused() -> Result<()> {
    Deployment::run(two_apis(1), async |deployment| {
        let [one, other] = [0, 1].map(|number| deployment.apis[number].client.clone());
        let (concert, seats) = demo_concert(&one, 0).await?;
        set_concert_controls(&one, &concert, true, None).await?;
        for client in [&one, &other] {
            becomes_paused(client, seats[0]).await?;
        }
        let tiers = one.get(&format!("/ticket-tiers?concertId={concert}")).await?;
        let tier = &tiers.body["data"][0]["id"];
        ensure!(tier.is_i64(), "{tiers:?}");
        let block = json!({"ticketTierId": tier, "section": "added", "rows": 1, "seatsPerRow": 3});
        let added = one.write(Method::POST, &format!("/concerts/{concert}/seats"), &block).await?;
        ensure!(added.status == 201, "{added:?}");
        let (_, all) = demo_concert(&one, 0).await?;
        let new: Vec<i64> = all.into_iter().filter(|seat| !seats.contains(seat)).collect();
        assert_eq!(new.len(), 3);
        for client in [&one, &other] {
            becomes_paused(client, new[0]).await?;
            is_paused(client, &concert, &booking("bob", &new[2..])).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pause_of_a_concert_outlives_every_process() -> Result<()> {
    Deployment::run(two_apis(1), async |deployment| {
        let client = deployment.client().clone();
        let (concert, seats) = demo_concert(&client, 0).await?;
        let (_, other_seats) = demo_concert(&client, 1).await?;
        set_concert_controls(&client, &concert, true, None).await?;
        // Dropping a process kills it.
        for mut api in std::mem::take(&mut deployment.apis) {
            api.process.signal(Signal::SIGKILL)?;
            api.process.ended().await?;
        }
        let number = deployment.launch_api(&[]).await?;
        let client = deployment.apis[number].client.clone();
        wait_until("it knows that the concert is paused", async || {
            let refused = client.create_booking("alice", &seats[..1]).await?;
            ensure!(refused.status == 503, "it was accepted: {refused:?}");
            Ok((refused.code() == "intake-paused").then_some(()))
        })
        .await?;
        client.wait_until_ready().await?;
        is_paused(&client, &concert, &booking("bob", &seats[1..2])).await?;
        assert_eq!(client.book_seats("carol", &other_seats[..1]).await?.status, 201);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_instance_that_cannot_read_the_seats_of_a_paused_concert_accepts_nothing() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, seats) = demo_concert(&client, 0).await?;
        set_concert_controls(&client, &concert, true, None).await?;
        let number = deployment.launch_api(&[NO_DATABASE]).await?;
        let cut_off = deployment.apis[number].client.clone();
        let controls = wait_until("it has learned the controls from the other instance", async || {
            let refused = cut_off.create_booking("alice", &seats[..1]).await?;
            ensure!(refused.status == 503, "it was accepted: {refused:?}");
            let controls = get(&cut_off, "/ops/controls").await?;
            Ok((controls.status == 200).then_some(controls.body))
        })
        .await?;
        let expected = json!([{"concertId": concert, "paused": true, "acceptPerSecond": null}]);
        assert_eq!((&controls["concerts"], &controls["isStored"]), (&expected, &false.into()));
        let refused = wait_until("it is connected to the broker", async || {
            let refused = cut_off.create_booking("alice", &seats[..1]).await?;
            ensure!(refused.status == 503, "it was accepted: {refused:?}");
            Ok((refused.code() != "broker-unavailable").then_some(refused))
        })
        .await?;
        assert_eq!(refused.code(), "not-ready", "{refused:?}");
        assert_eq!(cut_off.get("/queue").await?.body["accepting"], false);
        Ok(())
    })
    .await
}
