//! Test concerts: concerts for tests and load tests, which are not listed and can be deleted with their sales.

use anyhow::{Context, Result};
use hamro_e2e::client::{Answer, Client, booking};
use hamro_e2e::{Events, Installation, Setup, ledger, wait_until};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
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

    async fn delete(&self, client: &Client) -> Result<Answer> {
        client.write(Method::DELETE, &format!("/concerts/{}", self.id), &Value::Null).await
    }

    fn spawn_delete(&self, client: &Client) -> JoinHandle<Result<Answer>> {
        let (client, path) = (client.clone(), format!("/concerts/{}", self.id));
        tokio::spawn(async move { client.write(Method::DELETE, &path, &Value::Null).await })
    }
}

/// Waits until this number of the api's database sessions wait for a lock.
async fn deletions_wait_for_a_lock(installation: &Installation, number: i64) -> Result<()> {
    wait_until("the deletions wait for a lock", async || {
        let waiting: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
             AND datname = current_database() AND application_name LIKE 'hamro-api%'",
        )
        .fetch_one(&installation.pool)
        .await?;
        Ok((waiting == number).then_some(()))
    })
    .await
}

/// Locks a tier, which workers and deletions change last, until the returned transaction ends.
async fn hold_tier(installation: &Installation, tier: i64) -> Result<Transaction<'static, Postgres>> {
    let mut holder = installation.pool.begin().await?;
    sqlx::query("SELECT FROM ticket_tiers WHERE id = $1 FOR UPDATE")
        .bind(i32::try_from(tier)?)
        .execute(&mut *holder)
        .await?;
    Ok(holder)
}

async fn assert_nothing_is_sold(installation: &Installation) -> Result<()> {
    for table in ["sales", "sale_seats"] {
        assert_eq!(ledger::count(&installation.pool, table).await?, 0, "{table}");
    }
    Ok(())
}

#[tokio::test]
async fn a_test_concert_is_in_no_list_and_works_by_its_id() -> Result<()> {
    let installation = Installation::start(Setup::default()).await?;
    let client = installation.client();
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
    installation.close().await
}

#[tokio::test]
async fn the_tiers_of_one_concert_can_be_listed() -> Result<()> {
    let installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let client = installation.client();
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
    installation.close().await
}

#[tokio::test]
async fn the_list_of_test_concerts_requires_the_admin_token() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let closed = installation.start_api(&[("ADMIN_TOKEN", "")]).await?;
    let client = installation.client();
    let test = TestConcert::create(client, 1, 1).await?;

    let listed = client.write(Method::GET, "/concerts?test=true", &Value::Null).await?;
    assert_eq!((listed.status, &listed.body["total"]), (200, &json!(1)), "{listed:?}");
    assert_eq!(listed.body["data"][0]["id"], test.id.as_str());
    let without = client.get("/concerts?test=true").await?;
    assert_eq!((without.status, without.code()), (401, "unauthorized"));
    assert_eq!(without.header("www-authenticate"), Some("Bearer"));
    let disabled = &installation.apis[closed].client;
    let disabled = disabled.write(Method::GET, "/concerts?test=true", &Value::Null).await?;
    assert_eq!((disabled.status, disabled.code()), (403, "forbidden"));

    assert_eq!(client.get("/concerts?test=false").await?.body, client.get("/concerts").await?.body);
    let invalid = client.get("/concerts?test=yes").await?;
    assert_eq!((invalid.status, &invalid.body["errors"][0]["field"]), (422, &json!("test")));
    installation.close().await
}

#[tokio::test]
async fn an_update_cannot_change_whether_a_concert_is_a_test_concert() -> Result<()> {
    let installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let client = installation.client();
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
    installation.close().await
}

#[tokio::test]
async fn a_test_concert_is_deleted_with_its_sales_and_other_sales_stay() -> Result<()> {
    let installation = Installation::start(Setup::default()).await?;
    let client = installation.client();
    // More seats than one transaction deletes.
    let test = TestConcert::create(client, 5, 500).await?;
    let (first, last) = (test.seats[0], test.seats[2_499]);
    let listed = client.seat_ids(0).await?;
    assert_eq!(client.book_seats("alice", &[first, last]).await?.status, 201);
    for _ in 0..2 {
        let retry = client.request(Method::POST, "/ticket-bookings/seats").header("Idempotency-Key", "bob-1");
        let answer = Client::send(retry.json(&booking("bob", &test.seats[1..3]))).await?;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let mixed = client.book_seats("carol", &[test.seats[3], listed[0]]).await?;
    let other = client.book_seats("dave", &listed[1..2]).await?;
    assert_eq!((mixed.status, other.status), (201, 201));
    assert_eq!(ledger::count(&installation.pool, "bookings").await?, 5);
    let mut events = Events::open(client, &format!("/seats/concert/{}/events", test.id)).await?;
    assert_eq!(events.next().await?.context("no snapshot")?.data["totalSeats"], 2_500);

    assert_eq!(test.delete(client).await?.status, 204);
    let map = client.get(&format!("/seats/concert/{}", test.id)).await?;
    assert_eq!((map.status, test.delete(client).await?.status), (404, 404));
    while events.next().await?.is_some() {}
    let booked = client.book_seats("erin", &[first]).await?;
    assert_eq!((booked.status, booked.code()), (404, "seats-not-found"));
    // The booking that also has a seat of a listed concert keeps that seat.
    let left: Vec<(String, i32)> = sqlx::query_as(
        "SELECT user_name, seat_id FROM sales JOIN sale_seats ON sale_id = sales.id ORDER BY user_name",
    )
    .fetch_all(&installation.pool)
    .await?;
    assert_eq!(
        left,
        [("carol".to_owned(), i32::try_from(listed[0])?), ("dave".to_owned(), i32::try_from(listed[1])?)]
    );
    let names: Vec<String> = sqlx::query_scalar("SELECT user_name FROM bookings ORDER BY user_name")
        .fetch_all(&installation.pool)
        .await?;
    assert_eq!(names, ["carol", "dave", "erin"]);
    installation.close().await
}

#[tokio::test]
async fn a_sold_seat_of_a_test_concert_is_deleted_only_after_its_sale() -> Result<()> {
    let installation = Installation::start(Setup::default()).await?;
    let client = installation.client();
    let test = TestConcert::create(client, 1, 2).await?;
    assert_eq!(client.book_seats("alice", &test.seats[..1]).await?.status, 201);
    let path = format!("/ticket-tiers/{}", test.tier);
    let tier = client.write(Method::DELETE, &path, &Value::Null).await?;
    assert_eq!((tier.status, tier.code()), (409, "has-sales"), "{tier:?}");
    // As earlier versions of the api delete a concert.
    let deleted = sqlx::query("DELETE FROM concerts WHERE id::text = $1")
        .bind(&test.id)
        .execute(&installation.pool)
        .await;
    let error = deleted.err().context("the concert was deleted")?;
    assert_eq!(error.as_database_error().and_then(|error| error.constraint()), Some("seats_sold"));
    installation.close().await
}

#[tokio::test]
async fn a_sold_seat_of_a_listed_concert_is_not_deleted_even_after_its_sale() -> Result<()> {
    let installation = Installation::start(Setup::default()).await?;
    let client = installation.client();
    let seats = client.seat_ids(0).await?;
    assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
    let mut transaction = installation.pool.begin().await?;
    sqlx::query("DELETE FROM sale_seats").execute(&mut *transaction).await?;
    let deleted = sqlx::query("DELETE FROM seats").execute(&mut *transaction).await;
    let error = deleted.err().context("the seats were deleted")?;
    assert_eq!(error.as_database_error().and_then(|error| error.constraint()), Some("seats_sold"));
    transaction.rollback().await?;
    installation.close().await
}

#[tokio::test]
async fn a_deletion_waits_for_a_sale_in_progress_and_removes_it() -> Result<()> {
    let installation = Installation::start(Setup::default()).await?;
    let client = installation.client();
    let test = TestConcert::create(client, 1, 2).await?;
    let holder = hold_tier(&installation, test.tier).await?;
    let ticket = client.create_booking("alice", &test.seats[..1]).await?;
    installation.worker_waits_for_a_lock().await?;
    let deletion = test.spawn_delete(client);
    deletions_wait_for_a_lock(&installation, 1).await?;
    holder.rollback().await?;
    assert_eq!(deletion.await??.status, 204);
    // The worker announced the sale, so it was committed.
    assert_eq!(client.final_status(ticket.location()?).await?["status"], "confirmed");
    assert_nothing_is_sold(&installation).await?;
    assert_eq!(ledger::count(&installation.pool, "bookings").await?, 0);
    installation.close().await
}

#[tokio::test]
async fn a_booking_that_waits_for_a_deletion_is_rejected() -> Result<()> {
    let installation = Installation::start(Setup::default()).await?;
    let client = installation.client();
    let test = TestConcert::create(client, 1, 2).await?;
    let holder = hold_tier(&installation, test.tier).await?;
    let deletion = test.spawn_delete(client);
    deletions_wait_for_a_lock(&installation, 1).await?;
    let ticket = client.create_booking("alice", &test.seats[..1]).await?;
    installation.worker_waits_for_a_lock().await?;
    holder.rollback().await?;
    assert_eq!(deletion.await??.status, 204);
    let status = client.final_status(ticket.location()?).await?;
    assert_eq!(
        (&status["status"], &status["problem"]["code"]),
        (&json!("rejected"), &json!("seats-not-found")),
        "{status}"
    );
    assert_nothing_is_sold(&installation).await?;
    installation.close().await
}

#[tokio::test]
async fn a_booking_that_is_queued_during_a_deletion_is_rejected() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let client = installation.client().clone();
    let test = TestConcert::create(&client, 1, 2).await?;
    let ticket = client.create_booking("alice", &test.seats[..1]).await?;
    assert_eq!(test.delete(&client).await?.status, 204);
    installation.start_worker(&[]).await?;
    let status = client.final_status(ticket.location()?).await?;
    assert_eq!(status["problem"]["code"], "seats-not-found", "{status}");
    assert_nothing_is_sold(&installation).await?;
    installation.close().await
}

#[tokio::test]
async fn a_sale_of_two_test_concerts_is_removed_when_both_are_deleted_at_once() -> Result<()> {
    let installation = Installation::start(Setup::default()).await?;
    let client = installation.client();
    let one = TestConcert::create(client, 1, 1).await?;
    let two = TestConcert::create(client, 1, 1).await?;
    assert_eq!(client.book_seats("alice", &[one.seats[0], two.seats[0]]).await?.status, 201);
    let mut holder = installation.pool.begin().await?;
    // Both deletions remove their seat from the sale before one of them sees the result of the other.
    sqlx::query("SELECT FROM sales FOR UPDATE").execute(&mut *holder).await?;
    let deletions = [one.spawn_delete(client), two.spawn_delete(client)];
    deletions_wait_for_a_lock(&installation, 2).await?;
    holder.rollback().await?;
    for deletion in deletions {
        assert_eq!(deletion.await??.status, 204);
    }
    assert_nothing_is_sold(&installation).await?;
    assert_eq!(ledger::count(&installation.pool, "bookings").await?, 0);
    installation.close().await
}

#[tokio::test]
async fn seats_that_are_added_and_sold_during_a_deletion_are_deleted_too() -> Result<()> {
    let installation = Installation::start(Setup::default()).await?;
    let client = installation.client();
    let test = TestConcert::create(client, 1, 2).await?;
    // The deletion removes the seats, and then waits for the concert.
    let mut holder = installation.pool.begin().await?;
    sqlx::query("SELECT FROM concerts WHERE id::text = $1 FOR KEY SHARE")
        .bind(&test.id)
        .execute(&mut *holder)
        .await?;
    let deletion = test.spawn_delete(client);
    deletions_wait_for_a_lock(&installation, 1).await?;
    let added = test.add_seats(client, 1, 5).await?;
    assert_eq!(client.book_seats("alice", &added).await?.status, 201);
    holder.rollback().await?;
    assert_eq!(deletion.await??.status, 204);
    assert_nothing_is_sold(&installation).await?;
    assert_eq!(client.get(&format!("/concerts/{}", test.id)).await?.status, 404);
    installation.close().await
}
