//! Test concerts: concerts for tests and load tests, which are not listed and can be deleted with their sales.

mod deletion;

use anyhow::{Context, Result};
use hamro_e2e::client::{ApiResponse, Client};
use hamro_e2e::{Deployment, Events, Setup};
use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// A test concert with one tier.
struct TestConcert {
    id: String,
    tier: i64,
    seats: Vec<i64>,
}

fn concert(title: &str) -> Value {
    json!({
        "title": title, "artist": "Nobody", "date": "2099-12-31", "time": "19:00", "venue": "Nowhere",
        "city": "Nowhere", "image": "https://example.com/nothing.jpg", "test": true,
    })
}

async fn created(client: &Client, path: &str, body: Value) -> Result<Value> {
    let answer = client.write(Method::POST, path, &body).await?;
    assert_eq!(answer.status, 201, "{path}: {answer:?}");
    Ok(answer.body)
}

impl TestConcert {
    async fn create(client: &Client, rows: usize, seats_per_row: usize) -> Result<Self> {
        let made = created(client, "/concerts", concert("Test")).await?;
        let id = made["id"].as_str().context("no id")?.to_owned();
        let tier = json!({"concertId": id, "ticketTypeId": 1, "price": "10.00"});
        let tier = created(client, "/ticket-tiers", tier).await?["id"].as_i64().context("no id")?;
        let mut concert = Self { id, tier, seats: Vec::new() };
        concert.seats = concert.add_seats(client, rows, seats_per_row).await?;
        Ok(concert)
    }

    /// Adds a block of seats, and returns all seats.
    async fn add_seats(&self, client: &Client, rows: usize, seats_per_row: usize) -> Result<Vec<i64>> {
        let block =
            json!({"ticketTierId": self.tier, "section": "test", "rows": rows, "seatsPerRow": seats_per_row});
        created(client, &format!("/concerts/{}/seats", self.id), block).await?;
        let map = client.get(&format!("/seats/concert/{}", self.id)).await?.body;
        let seats = map["seats"].as_array().context("no seats")?;
        seats.iter().map(|seat| seat["id"].as_i64().context("a seat without an id")).collect()
    }

    async fn delete(&self, client: &Client) -> Result<ApiResponse> {
        client.write(Method::DELETE, &format!("/concerts/{}", self.id), &Value::Null).await
    }

    fn spawn_delete(&self, client: &Client) -> JoinHandle<Result<ApiResponse>> {
        let (client, path) = (client.clone(), format!("/concerts/{}", self.id));
        tokio::spawn(async move { client.write(Method::DELETE, &path, &Value::Null).await })
    }
}

#[tokio::test]
async fn a_test_concert_is_in_no_list_and_works_by_its_id() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let lists =
            ["/concerts?limit=3&page=1", "/concerts?limit=3&page=2", "/ticket-tiers", "/ticket-tiers/all"];
        let read_lists = async || -> Result<Vec<Value>> {
            let mut read = Vec::new();
            for path in lists {
                read.push(client.get(path).await?.body);
            }
            Ok(read)
        };
        let before = read_lists().await?;
        let test = TestConcert::create(client, 2, 5).await?;
        assert_eq!(read_lists().await?, before);
        assert!(!client.get("/concerts").await?.body.to_string().contains(r#""test""#));

        let stored = client.get(&format!("/concerts/{}", test.id)).await?.body;
        assert_eq!((&stored["id"], &stored["test"]), (&json!(test.id), &json!(true)));
        let mut events = Events::open(client, &format!("/seats/concert/{}/events", test.id)).await?;
        assert_eq!(events.next().await?.context("no snapshot")?.data["totalSeats"], 10);
        let booked = client.book_seats("alice", &test.seats[..2]).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        assert_eq!(events.next().await?.context("no change")?.data["availableSeats"], 8);
        let tier = client.get(&format!("/ticket-tiers/{}", test.tier)).await?.body;
        assert_eq!((&tier["total"], &tier["available"]), (&json!(10), &json!(8)));
        let listed = client.get(&format!("/ticket-tiers?concertId={}", test.id)).await?.body;
        assert_eq!((&listed["data"], &listed["total"]), (&json!([tier]), &json!(1)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_tiers_of_one_concert_can_be_listed() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (id, _) = client.seat_map(0).await?;
        let all = client.get("/ticket-tiers/all").await?.body;
        let expected: Vec<&Value> =
            all.as_array().into_iter().flatten().filter(|tier| tier["concertId"] == id.as_str()).collect();
        let listed = client.get(&format!("/ticket-tiers?concertId={id}")).await?.body;
        assert_eq!((&listed["data"], &listed["total"]), (&json!(expected), &json!(expected.len())));
        let unknown = "00000000-0000-4000-8000-000000000000";
        assert_eq!(client.get(&format!("/ticket-tiers?concertId={unknown}")).await?.body["total"], 0);
        let invalid = client.get("/ticket-tiers?concertId=7").await?;
        assert_eq!((invalid.status, &invalid.body["errors"][0]["field"]), (422, &json!("concertId")));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_list_of_test_concerts_requires_the_admin_token() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let closed = deployment.start_api(&[("ADMIN_TOKEN", "")]).await?;
        let client = deployment.client();
        let test = TestConcert::create(client, 1, 1).await?;

        let listed = client.write(Method::GET, "/concerts?test=true", &Value::Null).await?;
        assert_eq!((listed.status, &listed.body["total"]), (200, &json!(1)), "{listed:?}");
        assert_eq!(listed.body["data"][0]["id"], test.id.as_str());
        let without = client.get("/concerts?test=true").await?;
        assert_eq!((without.status, without.code()), (401, "unauthorized"));
        assert_eq!(without.header("www-authenticate"), Some("Bearer"));
        let disabled = &deployment.apis[closed].client;
        let disabled = disabled.write(Method::GET, "/concerts?test=true", &Value::Null).await?;
        assert_eq!((disabled.status, disabled.code()), (403, "forbidden"));

        assert_eq!(client.get("/concerts?test=false").await?.body, client.get("/concerts").await?.body);
        let invalid = client.get("/concerts?test=yes").await?;
        assert_eq!((invalid.status, &invalid.body["errors"][0]["field"]), (422, &json!("test")));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_update_cannot_change_whether_a_concert_is_a_test_concert() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
    let client = deployment.client();
    let test = TestConcert::create(client, 1, 1).await?;
    let (listed, _) = client.seat_map(0).await?;
    for (id, is_test) in [(&test.id, true), (&listed, false)] {
        let path = format!("/concerts/{id}");
        let stored = client.get(&path).await?.body;
        let mut update = stored.clone();
        update["test"] = json!(!is_test);
        let changed = client.write(Method::PUT, "/concerts", &update).await?;
        assert_eq!((changed.status, changed.code()), (422, "invalid-request"), "{changed:?}");
        let error = json!({
            "field": "test", "detail": format!("cannot be changed: this concert was created with {is_test}"),
        });
        assert_eq!(changed.body["errors"], json!([error]));
        // Clients of the earlier system send no `test`.
        for test in [json!(is_test), Value::Null] {
            update["test"] = test;
            let answer = client.write(Method::PUT, "/concerts", &update).await?;
            assert_eq!((answer.status, &answer.body), (200, &stored));
        }
        assert_eq!(client.get(&path).await?.body, stored);
    }
    Ok(())
    })
    .await
}
