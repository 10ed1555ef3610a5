//! Seat maps as documents: `/seats/concert/{id}` and what is made of the same seats.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::future::{join_all, try_join_all};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Events, Setup, wait_until};
use hyper::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

/// Much longer than a second, because the processors may be busy.
const WITHIN: Duration = Duration::from_secs(5);

/// The ids of the demo concerts, without asking for their seats.
async fn concerts(client: &Client) -> Result<Vec<String>> {
    let concerts = client.get("/concerts").await?;
    let ids = concerts.body["data"].as_array().context("no concerts")?.iter();
    ids.map(|concert| concert["id"].as_str().map(str::to_owned).context("no id")).collect()
}

/// How many sessions of the api wait for a lock.
async fn waiting_sessions(deployment: &Deployment) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name LIKE 'hamro-api%'",
    )
    .fetch_one(&deployment.pool)
    .await?)
}

/// How often an instance has made this document.
async fn made(deployment: &mut Deployment, document: &str) -> Result<Option<f64>> {
    let metrics = deployment.apis[0].process.metrics().await?;
    Ok(metrics.value("hamro_seat_map_build_duration_seconds_count", &[("document", document)]))
}

/// Sends a request for each path at once, while the seats cannot be read, and lets them be read once so many are being read.
async fn ask_at_once(
    deployment: &Deployment,
    paths: impl Iterator<Item = String>,
    read_at_once: i64,
) -> Result<Vec<Value>> {
    let client = deployment.client().clone();
    let mut holder = deployment.pool.begin().await?;
    sqlx::raw_sql("LOCK TABLE seats IN ACCESS EXCLUSIVE MODE").execute(&mut *holder).await?;
    let requests = paths.map(|path| {
        let client = client.clone();
        tokio::spawn(async move { client.get(&path).await })
    });
    let requests: Vec<_> = requests.collect();
    wait_until("seats are being read", async || {
        let waiting = waiting_sessions(deployment).await?;
        assert!(waiting <= read_at_once, "{waiting} seat maps are being read");
        Ok((waiting == read_at_once).then_some(()))
    })
    .await?;
    // The other requests wait without a session.
    let created = client.write(Method::POST, "/ticket-types", &json!({"name": "Balcony"})).await?;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(client.get("/concerts").await?.status, 200);
    holder.rollback().await?;
    let mut bodies = Vec::new();
    for response in join_all(requests).await {
        let response = response??;
        assert_eq!(response.status, 200, "{response:?}");
        bodies.push(response.body);
    }
    Ok(bodies)
}

#[tokio::test]
async fn forty_requests_for_a_seat_map_read_and_make_it_once() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let path = format!("/seats/concert/{}", concerts(deployment.client()).await?[0]);
        let bodies = ask_at_once(deployment, (0..40).map(|_| path.clone()), 1).await?;
        assert_eq!(bodies[0]["totalSeats"], 100);
        assert!(bodies.iter().all(|body| *body == bodies[0]));
        let made = wait_until("the metrics show what was made", async || made(deployment, "seats").await);
        assert_eq!(made.await?.to_string(), "1");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn seat_map_queries_use_at_most_two_database_sessions() -> Result<()> {
    let variables = vec![("DATABASE_CONNECTIONS", "4")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let concerts = concerts(deployment.client()).await?;
        let paths = concerts.iter().flat_map(|concert| {
            ["", "/available", "/status"].map(|document| format!("/seats/concert/{concert}{document}"))
        });
        assert!(concerts.len() > 2);
        ask_at_once(deployment, paths, 2).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_unchanged_seat_map_costs_no_query_of_its_own() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, _) = client.seat_map(0).await?;
        let documents = ["", "/available", "/status"].map(|name| format!("/seats/concert/{concert}{name}"));
        let mut tags = Vec::new();
        for path in &documents {
            tags.push(client.get(path).await?.header("etag").context("no ETag")?.to_owned());
        }
        let mut holder = deployment.pool.begin().await?;
        sqlx::raw_sql("LOCK TABLE concerts, ticket_tiers, seats IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *holder)
            .await?;
        let requests = (0..50)
            .flat_map(|_| documents.iter().zip(&tags))
            .map(|(path, tag)| Client::send(client.request(Method::GET, path).header("If-None-Match", tag)));
        for response in try_join_all(requests).await? {
            assert_eq!(response.status, 304, "{response:?}");
        }
        // The comparison of the seat maps, for all requests together, the watch of the epoch and the catalogue's own.
        let waiting = waiting_sessions(deployment).await?;
        assert!(waiting <= 3, "{waiting} sessions wait");
        holder.rollback().await?;
        Ok(())
    })
    .await
}

/// The seats as the database has them, in the form of the seat map.
async fn stored(deployment: &Deployment, concert: &str) -> Result<Vec<Value>> {
    let moment = |column: &str| {
        format!(
            "to_char(date_trunc('milliseconds', {column}) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        )
    };
    let query = format!(
        "SELECT jsonb_strip_nulls(jsonb_build_object(
             'id', id, 'concertId', concert_id, 'ticketTierId', ticket_tier_id, 'seatNumber', seat_number, 'row', \"row\",
             'section', section, 'isBooked', booked_at IS NOT NULL, 'bookedAt', {}, 'createdAt', {}, 'updatedAt', {}))
         FROM seats WHERE concert_id = '{concert}' ORDER BY id",
        moment("booked_at"),
        moment("created_at"),
        moment("updated_at")
    );
    Ok(sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&deployment.pool).await?)
}

/// Whether all documents of this instance contain what is stored.
async fn is_current(deployment: &Deployment, client: &Client, concert: &str) -> Result<bool> {
    let path = format!("/seats/concert/{concert}");
    let stored = stored(deployment, concert).await?;
    let free: Vec<&Value> = stored.iter().filter(|seat| seat["isBooked"] == false).collect();
    let all = json!({"seats": &stored, "totalSeats": stored.len(), "availableSeats": free.len(),
                     "bookedSeats": stored.len() - free.len()});
    let status = client.get(&format!("{path}/status")).await?.body;
    Ok(client.get(&path).await?.body == all
        && client.get(&format!("{path}/available")).await?.body == json!(free)
        && status["availableSeats"] == all["availableSeats"])
}

#[tokio::test]
async fn seat_maps_equal_the_stored_seats_after_sales_releases_and_changes_by_hand() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let other = deployment.apis[1].client.clone();
        let (concert, _) = client.seat_map(0).await?;
        other.seat_map(0).await?;
        let seats = client.seat_ids(0).await?;
        let sold = client.create_booking("alice", &seats[..3]).await?;
        assert_eq!(client.final_status(sold.location()?).await?["status"], "confirmed");
        assert!(is_current(deployment, &client, &concert).await?, "the buyer does not see the sale");
        let order = json!({"seatIds": [seats[1]], "reason": "Refund"});
        let released = client.write(Method::POST, &format!("{}/release", sold.location()?), &order).await?;
        assert_eq!(released.status, 200, "{released:?}");
        assert!(
            is_current(deployment, &client, &concert).await?,
            "the administrator does not see the release"
        );
        let tier = &client.get(&format!("/seats/concert/{concert}")).await?.body["seats"][0]["ticketTierId"];
        let block = json!({"ticketTierId": tier, "section": "balcony", "rows": 1, "seatsPerRow": 5});
        let added = client.write(Method::POST, &format!("/concerts/{concert}/seats"), &block).await?;
        assert_eq!(added.status, 201, "{added:?}");
        assert!(
            is_current(deployment, &client, &concert).await?,
            "the administrator does not see the new seats"
        );
        let last = stored(deployment, &concert).await?.last().context("no seats")?["id"].clone();
        let removed = client.write(Method::DELETE, &format!("/seats/{last}"), &Value::Null).await?;
        assert_eq!(removed.status, 204, "{removed:?}");
        assert!(is_current(deployment, &client, &concert).await?, "the administrator sees the removed seat");

        // By hand, without the counters of the tiers.
        let renamed =
            format!("UPDATE seats SET section = 'stalls', updated_at = now() WHERE id = {}", seats[7]);
        sqlx::raw_sql(AssertSqlSafe(renamed)).execute(&deployment.pool).await?;
        for instance in [&client, &other] {
            wait_until("the instance shows what was changed by hand", async || {
                Ok(is_current(deployment, instance, &concert).await?.then_some(()))
            })
            .await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_seat_map_is_the_same_in_every_encoding_and_head_describes_it() -> Result<()> {
    Deployment::run(Setup { workers: 0, apis: 2, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, _) = client.seat_map(0).await?;
        for document in ["", "/available", "/status"] {
            let path = format!("/seats/concert/{concert}{document}");
            let plain = client.get(&path).await?;
            let tag = plain.header("etag").context("no ETag")?.to_owned();
            let elsewhere = deployment.apis[1].client.get(&path).await?;
            assert_eq!(elsewhere.header("etag"), Some(tag.as_str()), "{path} on another instance");
            let head = Client::send(client.request(Method::HEAD, &path)).await?;
            for header in ["etag", "content-length", "content-type", "cache-control", "vary"] {
                assert!(plain.header(header).is_some(), "{path}: no {header}");
                assert_eq!(head.header(header), plain.header(header), "{path}: {header}");
            }
            for encoding in ["gzip", "br"] {
                let ask = |tag: Option<&str>| {
                    let request = client.request(Method::GET, &path).header("Accept-Encoding", encoding);
                    Client::send(match tag {
                        Some(tag) => request.header("If-None-Match", tag),
                        None => request,
                    })
                };
                assert_eq!(
                    ask(Some(&tag)).await?.status,
                    304,
                    "{path}: it is the same content in {encoding}"
                );
                let encoded = ask(None).await?;
                let own = encoded.header("etag").context("no ETag")?;
                assert_eq!(encoded.header("content-encoding").is_some(), own != tag, "{path} in {encoding}");
                assert!(own.starts_with(tag.trim_end_matches('"')), "{own} {tag}");
            }
            let range = client.request(Method::GET, &path).header("Range", "bytes=0-9");
            assert_eq!(Client::send(range).await?.body, plain.body, "{path}: ranges are ignored");
            let none = client.request(Method::GET, &path).header("Accept-Encoding", "identity;q=0, zstd");
            assert_eq!(Client::send(none).await?.status, 406, "{path}");
        }
        Ok(())
    })
    .await
}

/// The seats that a layout and a status say are booked.
fn booked(layout: &Value, status: &Value) -> Result<Vec<i64>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = status["booked"].as_str().context("no bits")?.trim_end_matches('=').bytes();
    let digits: Vec<usize> =
        digits.filter_map(|digit| DIGITS.iter().position(|known| *known == digit)).collect();
    // Base64 begins each group of six bits with the most significant one.
    let bit = |seat: usize| {
        let place = seat / 8 * 8 + 7 - seat % 8;
        digits[place / 6] & (32 >> (place % 6)) != 0
    };
    let mut seats = Vec::new();
    for run in layout["runs"].as_array().context("no runs")? {
        let first = run["firstId"].as_i64().context("no id")?;
        seats.extend((0..run["count"].as_i64().context("no count")?).map(|place| first + place));
    }
    let booked = seats.iter().enumerate().filter(|(index, _)| bit(*index));
    Ok(booked.map(|(_, seat)| *seat).collect())
}

#[tokio::test]
async fn a_layout_changes_with_the_seats_and_not_with_sales() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let other = deployment.apis[1].client.clone();
        let seats = client.seat_ids(0).await?;
        let (concert, map) = client.seat_map(0).await?;
        let path = format!("/seats/concert/{concert}");
        let status = client.get(&format!("{path}/status")).await?;
        assert_eq!(status.header("cache-control"), Some("no-cache"));
        let version = status.body["layoutVersion"].as_str().context("no version")?.to_owned();
        let layout = client.get(&format!("{path}/layouts/{version}")).await?;
        assert_eq!(layout.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(
            (&layout.body["layoutVersion"], &layout.body["totalSeats"]),
            (&json!(version), &json!(100))
        );
        assert_eq!(other.get(&format!("{path}/layouts/{version}")).await?.body, layout.body);
        assert_eq!(booked(&layout.body, &status.body)?, [0; 0]);

        assert_eq!(client.book_seats("alice", &seats[40..43]).await?.status, 201);
        let sold = wait_until("the status shows the sale", async || {
            let status = client.get(&format!("{path}/status")).await?.body;
            Ok((status["availableSeats"] == 97).then_some(status))
        })
        .await?;
        assert_eq!(sold["layoutVersion"], json!(version));
        assert_eq!(booked(&layout.body, &sold)?, seats[40..43]);

        let tier = &map["seats"][0]["ticketTierId"];
        let block = json!({"ticketTierId": tier, "section": "balcony", "rows": 1, "seatsPerRow": 5});
        let added = client.write(Method::POST, &format!("/concerts/{concert}/seats"), &block).await?;
        assert_eq!(added.status, 201, "{added:?}");
        let changed = client.get(&format!("{path}/status")).await?.body;
        assert_eq!(changed["totalSeats"], 105);
        let new_version = changed["layoutVersion"].as_str().context("no version")?.to_owned();
        assert_ne!(new_version, version);
        // Even an instance that has not compared its seats since finds the new one.
        let found = other.get(&format!("{path}/layouts/{new_version}")).await?;
        assert_eq!((found.status, &found.body["totalSeats"]), (200, &json!(105)), "{found:?}");
        assert_eq!(booked(&found.body, &changed)?, seats[40..43]);
        for unknown in [version.as_str(), "0123", "ffffffffffffffffffffffffffffffff"] {
            let gone = client.get(&format!("{path}/layouts/{unknown}")).await?;
            assert_eq!((gone.status, gone.code()), (404, "layout-changed"), "{unknown}");
            assert_eq!(gone.header("cache-control"), Some("no-store"));
        }
        let nowhere = "/seats/concert/00000000-0000-4000-8000-000000000000";
        for document in ["/status".to_owned(), format!("/layouts/{version}")] {
            let unknown = client.get(&format!("{nowhere}{document}")).await?;
            assert_eq!((unknown.status, unknown.code()), (404, "not-found"), "{document}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_instance_shows_a_sale_in_the_status_although_announcements_are_lost() -> Result<()> {
    Deployment::run(Setup { apis: 2, ..Setup::default() }, async |deployment| {
        let clients: Vec<Client> = deployment.apis.iter().map(|api| api.client.clone()).collect();
        let seats = clients[0].seat_ids(0).await?;
        let (concert, _) = clients[0].seat_map(0).await?;
        let path = format!("/seats/concert/{concert}/status");
        for client in &clients {
            assert_eq!(client.get(&path).await?.body["availableSeats"], 100);
        }
        deployment.lose_announcements().await?;
        for (count, seat) in (1..).zip(&seats[..3]) {
            clients[0].create_booking("alice", &[*seat]).await?;
            wait_until("the seat is sold", async || {
                let sold: bool = sqlx::query_scalar("SELECT booked_at IS NOT NULL FROM seats WHERE id = $1")
                    .bind(i32::try_from(*seat)?)
                    .fetch_one(&deployment.pool)
                    .await?;
                Ok(sold.then_some(()))
            })
            .await?;
            let sold_at = Instant::now();
            for client in &clients {
                wait_until("the status shows the sale", async || {
                    Ok((client.get(&path).await?.body["availableSeats"] == 100 - count).then_some(()))
                })
                .await?;
            }
            assert!(sold_at.elapsed() < WITHIN, "{:?}", sold_at.elapsed());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_events_after_a_status_contain_every_later_change() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let (concert, _) = client.seat_map(0).await?;
        let path = format!("/seats/concert/{concert}");
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        let status = client.get(&format!("{path}/status")).await?;
        let id = status.header("last-event-id").context("no Last-Event-ID")?.to_owned();
        assert_eq!(client.book_seats("bob", &seats[1..2]).await?.status, 201);
        assert_eq!(client.book_seats("carol", &seats[2..3]).await?.status, 201);
        let mut events = Events::open_after(&client, &format!("{path}/events"), Some(&id)).await?;
        let mut missing = vec![json!(seats[1]), json!(seats[2])];
        while !missing.is_empty() {
            let event = events.next().await?.context("the stream has ended")?;
            assert_eq!(event.name, "change", "the id of the status is not known");
            let changed = event.data["bookedSeatIds"].as_array().context("no seats")?;
            missing.retain(|seat| !changed.contains(seat));
        }
        Ok(())
    })
    .await
}
