//! Seat maps and their event streams.

use anyhow::{Context, Result};
use hamro_e2e::client::Client;
use hamro_e2e::events::Event;
use hamro_e2e::{Deployment, Events, Setup};
use hyper::Method;
use serde_json::{Value, json};

/// Reads events until all of these seats are reported as booked.
async fn booked(events: &mut Events, seats: &[i64]) -> Result<Event> {
    let mut missing: Vec<Value> = seats.iter().copied().map(Value::from).collect();
    loop {
        let event = events.next().await?.context("the stream has ended")?;
        let booked = event.data["bookedSeatIds"].as_array().context("no seats")?;
        missing.retain(|seat| !booked.contains(seat));
        if missing.is_empty() {
            return Ok(event);
        }
    }
}

#[tokio::test]
async fn watchers_of_a_seat_map_see_every_sale_on_every_instance() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..2]).await?.status, 201);
        let (concert, _) = client.seat_map(0).await?;
        let path = format!("/seats/concert/{concert}/events");

        let mut streams = Vec::new();
        for api in &deployment.apis {
            let mut events = Events::open(&api.client, &path).await?;
            let first = events.next().await?.context("no snapshot")?;
            let version = &first.data["layoutVersion"];
            let layout = format!("/seats/concert/{concert}/layouts/{}", version.as_str().unwrap_or_default());
            assert_eq!(api.client.get(&layout).await?.status, 200, "{version}");
            let all = json!({"layoutVersion": version, "totalSeats": 100, "availableSeats": 98, "bookedSeatIds": &seats[..2]});
            assert_eq!((first.name.as_str(), &first.data), ("snapshot", &all));
            streams.push(events);
        }
        assert_eq!(client.book_seats("bob", &seats[2..4]).await?.status, 201);
        assert_eq!(client.book_seats("bob", &seats[3..5]).await?.status, 409);
        for events in &mut streams {
            let event = events.next().await?.context("no change")?;
            let change = json!({"availableSeats": 96, "bookedSeatIds": &seats[2..4], "freedSeatIds": []});
            assert_eq!((event.name.as_str(), event.data), ("change", change));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn watchers_see_a_sale_whose_announcement_is_lost() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (concert, _) = client.seat_map(0).await?;
        let mut events = Events::open(&client, &format!("/seats/concert/{concert}/events")).await?;
        assert_eq!(events.next().await?.context("no snapshot")?.name, "snapshot");
        deployment.lose_announcements().await?;
        for seat in &seats[..3] {
            client.create_booking("alice", &[*seat]).await?;
        }
        let last = booked(&mut events, &seats[..3]).await?;
        assert_eq!(last.data["availableSeats"], 97);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_reconnecting_client_receives_the_missed_changes_or_a_snapshot() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let (concert, _) = client.seat_map(0).await?;
        let path = format!("/seats/concert/{concert}/events");
        let mut events = Events::open(client, &path).await?;
        let first = events.next().await?.context("no snapshot")?;
        drop(events);
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);

        let mut resumed = Events::open_after(client, &path, Some(&first.id)).await?;
        let missed = booked(&mut resumed, &seats[..1]).await?;
        assert_eq!((missed.name.as_str(), &missed.data["availableSeats"]), ("change", &json!(99)));
        // An event id of another instance and an unknown id both lead to a snapshot.
        for (api, id) in [(1, missed.id.as_str()), (0, "unknown-id")] {
            let mut events = Events::open_after(&deployment.apis[api].client, &path, Some(id)).await?;
            let all = events.next().await?.context("no snapshot")?;
            assert_eq!((all.name.as_str(), &all.data["bookedSeatIds"]), ("snapshot", &json!(&seats[..1])));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn watchers_receive_a_snapshot_when_seats_are_added() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let mut events = Events::open(client, &format!("/seats/concert/{concert}/events")).await?;
        assert_eq!(events.next().await?.context("no snapshot")?.data["totalSeats"], 100);
        let tier = &map["seats"][0]["ticketTierId"];
        let block = json!({"ticketTierId": tier, "section": "balcony", "rows": 1, "seatsPerRow": 5});
        let added = client.write(Method::POST, &format!("/concerts/{concert}/seats"), &block).await?;
        assert_eq!(added.status, 201, "{added:?}");
        let all = events.next().await?.context("no snapshot")?;
        assert_eq!((all.name.as_str(), &all.data["totalSeats"]), ("snapshot", &json!(105)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_unknown_concert_cannot_be_watched() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let unknown = client.get("/seats/concert/00000000-0000-4000-8000-000000000000/events").await?;
        assert_eq!((unknown.status, unknown.code()), (404, "not-found"));
        let wrong = client.get("/seats/concert/7/events").await?;
        assert_eq!((wrong.status, wrong.code()), (422, "invalid-request"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_unchanged_seat_map_is_answered_304() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let (concert, _) = client.seat_map(0).await?;
        for path in [format!("/seats/concert/{concert}"), format!("/seats/concert/{concert}/available")] {
            let map = client.get(&path).await?;
            let etag = map.header("etag").context("no ETag")?.to_owned();
            assert_eq!(map.header("cache-control"), Some("no-cache"));
            let ask = async |client: &Client| {
                Client::send(client.request(Method::GET, &path).header("If-None-Match", &etag)).await
            };
            assert_eq!(ask(client).await?.status, 304);
            let seat = if path.ends_with("available") { seats[1] } else { seats[0] };
            assert_eq!(client.book_seats("alice", &[seat]).await?.status, 201);
            let changed = ask(client).await?;
            assert_eq!(changed.status, 200);
            assert_ne!(changed.header("etag"), Some(etag.as_str()));
        }
        let unknown = client.request(Method::GET, "/seats/concert/00000000-0000-4000-8000-000000000000");
        assert_eq!(Client::send(unknown.header("If-None-Match", "*")).await?.status, 404);
        Ok(())
    })
    .await
}
