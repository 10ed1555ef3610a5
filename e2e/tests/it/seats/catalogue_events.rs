//! What a stream of seats says about changes of the concert, its tiers and their types.

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Events, Setup};
use hyper::Method;
use serde_json::{Value, json};

/// The next version of the concert. Changes of seats are skipped.
async fn version(events: &mut Events) -> Result<String> {
    loop {
        let event = events.next_of_any_kind().await?.context("the stream has ended")?;
        if event.name == "catalogue" {
            return Ok(event.data["version"].as_str().context("no version")?.to_owned());
        }
    }
}

async fn write(client: &Client, method: Method, path: &str, body: &Value) -> Result<Value> {
    let response = client.write(method, path, body).await?;
    ensure!(matches!(response.status, 200 | 201 | 204), "{response:?}");
    Ok(response.body)
}

#[tokio::test]
async fn watchers_learn_on_every_instance_that_a_price_a_tier_or_the_concert_has_changed() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let path = format!("/seats/concert/{concert}/events");
        let mut streams = Vec::new();
        let mut versions = Vec::new();
        for api in &deployment.apis {
            let mut events = Events::open(&api.client, &path).await?;
            let first = events.next_of_any_kind().await?.context("no event")?;
            assert_eq!(first.name, "snapshot");
            let event = events.next_of_any_kind().await?.context("no event")?;
            assert_eq!((event.name.as_str(), event.id), ("catalogue", first.id));
            versions.push(event.data);
            streams.push(events);
        }
        assert_eq!(versions[0], versions[1], "all instances name the same version");
        let mut last = versions[0]["version"].as_str().context("no version")?.to_owned();

        let tier = client.get(&format!("/ticket-tiers/{}", map["seats"][0]["ticketTierId"])).await?.body;
        let mut change = json!({"id": tier["id"], "concertId": concert, "ticketTypeId": tier["ticketTypeId"]});
        change["price"] = json!("99.00");
        write(client, Method::PUT, "/ticket-tiers", &change).await?;
        last = all_differ(&mut streams, &last).await?;

        let balcony = write(client, Method::POST, "/ticket-types", &json!({"name": "Balcony"})).await?;
        let added = json!({"concertId": concert, "ticketTypeId": balcony["id"], "price": "12.50"});
        let added = write(client, Method::POST, "/ticket-tiers", &added).await?;
        last = all_differ(&mut streams, &last).await?;

        write(client, Method::DELETE, &format!("/ticket-tiers/{}", added["id"]), &Value::Null).await?;
        last = all_differ(&mut streams, &last).await?;

        let mut description = client.get(&format!("/concerts/{concert}")).await?.body;
        description["venue"] = json!("Another Arena");
        write(client, Method::PUT, "/concerts", &description).await?;
        last = all_differ(&mut streams, &last).await?;

        // A change by SQL, which no instance makes.
        sqlx::query("UPDATE ticket_types SET name = 'Renamed' WHERE id = (SELECT ticket_type_id FROM ticket_tiers WHERE id = $1)")
            .bind(tier["id"].as_i64().and_then(|id| i32::try_from(id).ok()))
            .execute(&deployment.pool)
            .await?;
        last = all_differ(&mut streams, &last).await?;

        // A client that returns gets the version again, and can tell what it has missed.
        let mut returning = Events::open(client, &path).await?;
        assert_eq!(version(&mut returning).await?, last);
        Ok(())
    })
    .await
}

/// Reads the next version from each stream. All have the same, which differs from `last`.
async fn all_differ(streams: &mut [Events], last: &str) -> Result<String> {
    let mut versions = Vec::new();
    for events in streams {
        versions.push(version(events).await?);
    }
    ensure!(
        versions.iter().all(|version| *version == versions[0] && version != last),
        "{versions:?} after {last}"
    );
    Ok(versions.remove(0))
}

#[tokio::test]
async fn a_booking_or_a_change_of_another_concert_sends_no_version() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (concert, _) = client.seat_map(0).await?;
        let (other, other_map) = client.seat_map(1).await?;
        let seats = client.seat_ids(0).await?;
        let mut events = Events::open(client, &format!("/seats/concert/{concert}/events")).await?;
        let mut others = Events::open(client, &format!("/seats/concert/{other}/events")).await?;
        version(&mut events).await?;
        version(&mut others).await?;
        let mut names = Vec::new();
        for seat in &seats[..3] {
            assert_eq!(client.book_seats("alice", &[*seat]).await?.status, 201);
            // After this, the sale was compared: a later change of the other concert was.
            let tier = client.get(&format!("/ticket-tiers/{}", other_map["seats"][0]["ticketTierId"])).await?.body;
            let price = format!("{seat}.00");
            let change = json!({"id": tier["id"], "concertId": other, "ticketTypeId": tier["ticketTypeId"], "price": price});
            write(client, Method::PUT, "/ticket-tiers", &change).await?;
            version(&mut others).await?;
            names.push(events.next_of_any_kind().await?.context("no event")?.name);
        }
        assert_eq!(names, ["change"; 3]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn watchers_of_a_concert_that_is_deleted_get_a_last_version_and_then_the_end() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (concert, _) = client.seat_map(0).await?;
        let mut events = Events::open(client, &format!("/seats/concert/{concert}/events")).await?;
        let first = version(&mut events).await?;
        write(client, Method::DELETE, &format!("/concerts/{concert}"), &Value::Null).await?;
        assert_ne!(version(&mut events).await?, first);
        assert_eq!(events.next_of_any_kind().await?, None);
        assert_eq!(client.get(&format!("/concerts/{concert}")).await?.status, 404);
        Ok(())
    })
    .await
}
