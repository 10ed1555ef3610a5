//! Invalid requests: the response says what to change, nothing is queued, and no partial effect remains.

use anyhow::{Context, Result};
use hamro_e2e::client::{ApiResponse, Client};
use hamro_e2e::{Deployment, Setup, tables};
use hyper::Method;
use serde_json::{Value, json};

/// Without workers, so that a booking that was queued by mistake would stay in the queue.
fn without_workers() -> Setup {
    Setup { workers: 0, ..Setup::default() }
}

fn valid() -> Value {
    json!({"userName": "Alice", "userEmail": "alice@example.com", "seatIds": [1, 2]})
}

fn with(field: &str, value: Value) -> String {
    let mut body = valid();
    body[field] = value;
    body.to_string()
}

fn without(field: &str) -> String {
    let mut body = valid();
    body.as_object_mut().map(|body| body.remove(field));
    body.to_string()
}

/// The invalid fields that the problem names.
fn fields(answer: &ApiResponse) -> Vec<&str> {
    let errors = answer.body["errors"].as_array();
    errors.into_iter().flatten().filter_map(|error| error["field"].as_str()).collect()
}

async fn assert_untouched(deployment: &Deployment) -> Result<()> {
    assert_eq!(deployment.waiting_messages().await?, 0, "the queue is not empty");
    assert_eq!(tables::count(&deployment.pool, "bookings").await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_invalid_booking_is_rejected_and_never_queued() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        let cases: Vec<(&str, String, u16, &str, &[&str])> = vec![
            ("cut short", r#"{"userName":"Al"#.to_owned(), 400, "malformed-request", &[]),
            ("empty body", String::new(), 400, "malformed-request", &[]),
            ("two documents", format!("{}{}", valid(), valid()), 400, "malformed-request", &[]),
            (
                "an array",
                r#"["Alice", "alice@example.com", [1], null]"#.to_owned(),
                422,
                "invalid-request",
                &["body"],
            ),
            ("a text", "\"seats\"".to_owned(), 422, "invalid-request", &["body"]),
            ("all missing", "{}".to_owned(), 422, "invalid-request", &["userName", "userEmail", "seatIds"]),
            ("no name", without("userName"), 422, "invalid-request", &["userName"]),
            ("null name", with("userName", Value::Null), 422, "invalid-request", &["userName"]),
            ("numeric name", with("userName", json!(7)), 422, "invalid-request", &["userName"]),
            ("blank name", with("userName", json!("   ")), 422, "invalid-request", &["userName"]),
            ("long name", with("userName", json!("x".repeat(101))), 422, "invalid-request", &["userName"]),
            ("name with a NUL", with("userName", json!("a\0b")), 422, "invalid-request", &["userName"]),
            (
                "negative total",
                with("expectedTotal", json!("-1.00")),
                422,
                "invalid-request",
                &["expectedTotal"],
            ),
            ("numeric total", with("expectedTotal", json!(20)), 422, "invalid-request", &["expectedTotal"]),
            ("no e-mail", without("userEmail"), 422, "invalid-request", &["userEmail"]),
            ("invalid e-mail", with("userEmail", json!("alice")), 422, "invalid-request", &["userEmail"]),
            (
                "long e-mail",
                with("userEmail", json!(format!("{}@example.com", "a".repeat(300)))),
                422,
                "invalid-request",
                &["userEmail"],
            ),
            ("no seats", without("seatIds"), 422, "invalid-request", &["seatIds"]),
            ("an empty list", with("seatIds", json!([])), 422, "invalid-request", &["seatIds"]),
            ("a seat twice", with("seatIds", json!([1, 2, 1])), 422, "invalid-request", &["seatIds"]),
            (
                "eleven seats",
                with("seatIds", json!((1..=11).collect::<Vec<_>>())),
                422,
                "invalid-request",
                &["seatIds"],
            ),
            ("seat 0", with("seatIds", json!([0])), 422, "invalid-request", &["seatIds"]),
            (
                "a huge seat",
                with("seatIds", json!([9_999_999_999_i64])),
                422,
                "invalid-request",
                &["seatIds"],
            ),
            ("a textual seat", with("seatIds", json!([1, "two"])), 422, "invalid-request", &["seatIds[1]"]),
            ("half a seat", with("seatIds", json!([1.5])), 422, "invalid-request", &["seatIds[0]"]),
            (
                "invalid concert id",
                with("concertId", json!("rock-night")),
                422,
                "invalid-request",
                &["concertId"],
            ),
        ];
        for path in ["/ticket-bookings", "/ticket-bookings/seats"] {
            for (name, body, status, code, invalid) in &cases {
                let request = client.request(Method::POST, path).header("content-type", "application/json");
                let answer = Client::send(request.body(body.clone())).await?;
                assert_eq!((answer.status, answer.code()), (*status, *code), "{name}: {answer:?}");
                assert_eq!(fields(&answer), *invalid, "{name}: {answer:?}");
                assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{name}");
                assert!(
                    answer.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
                    "{name}: {answer:?}"
                );
            }
            let large = with("userName", json!("x".repeat(10 << 20)));
            let request =
                client.request(Method::POST, path).header("content-type", "application/json").body(large);
            let answer = Client::send(request).await?;
            assert_eq!((answer.status, answer.code()), (413, "payload-too-large"));
            let answer = Client::send(client.request(Method::POST, path).body(valid().to_string())).await?;
            assert_eq!((answer.status, answer.code()), (415, "unsupported-media-type"));
            let keyed =
                client.request(Method::POST, path).header("Idempotency-Key", "k".repeat(256)).json(&valid());
            let answer = Client::send(keyed).await?;
            assert_eq!((answer.status, answer.code()), (422, "invalid-request"));
            assert_eq!(fields(&answer), ["Idempotency-Key"]);
        }
        assert_untouched(deployment).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_invalid_path_or_query_is_answered_with_a_problem() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        for (path, status, code) in [
            ("/concerts?page=0", 422, "invalid-request"),
            ("/concerts?page=-1", 422, "invalid-request"),
            ("/concerts?limit=1000000", 422, "invalid-request"),
            ("/concerts?limit=0", 422, "invalid-request"),
            ("/concerts?page=one", 422, "invalid-request"),
            ("/concerts?page=99999999999999999999", 422, "invalid-request"),
            ("/ticket-tiers?page=0", 422, "invalid-request"),
            ("/ticket-tiers/first", 422, "invalid-request"),
            ("/ticket-tiers/999999", 404, "not-found"),
            ("/concerts/rock-night", 422, "invalid-request"),
            ("/concerts/00000000-0000-0000-0000-000000000000", 404, "not-found"),
            ("/seats/concert/rock-night", 422, "invalid-request"),
            ("/seats/concert/00000000-0000-0000-0000-000000000000", 404, "not-found"),
            ("/seats/concert/00000000-0000-0000-0000-000000000000/available", 404, "not-found"),
            ("/ticket-bookings/rock-night", 404, "ticket-not-found"),
            ("/ticket-bookings/00000000-0000-0000-0000-000000000000", 404, "ticket-not-found"),
            ("/nowhere", 404, "not-found"),
        ] {
            let answer = client.get(path).await?;
            assert_eq!((answer.status, answer.code()), (status, code), "{path}: {answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        }
        // A page after the last one is empty, not an error.
        let empty = client.get("/concerts?page=1000000000&limit=1000").await?;
        assert_eq!((empty.status, &empty.body["data"]), (200, &json!([])));

        let answer = Client::send(client.request(Method::DELETE, "/ticket-bookings")).await?;
        assert_eq!((answer.status, answer.code()), (405, "method-not-allowed"));
        assert_eq!(answer.header("allow"), Some("POST"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_ticket_with_one_bit_changed_is_not_found() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        let accepted = client.create_booking("alice", &[1]).await?;
        let ticket = u128::from_str_radix(
            &accepted.body["ticketId"].as_str().context("no ticket")?.replace('-', ""),
            16,
        )?;
        for bit in 0..128 {
            let forged = uuid::Uuid::from_u128(ticket ^ 1 << bit);
            let answer = client.get(&format!("/ticket-bookings/{forged}")).await?;
            assert_eq!((answer.status, answer.code()), (404, "ticket-not-found"), "bit {bit}");
        }
        deployment.start_worker(&[]).await?;
        deployment.drained().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_of_unknown_seats_is_rejected_on_both_endpoints() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let answer = client.book_seats("alice", &[seats[0], 2_000_000]).await?;
        assert_eq!((answer.status, answer.code()), (404, "seats-not-found"), "{answer:?}");
        assert_eq!(answer.body["seatIds"], json!([2_000_000]));

        // The booking names one concert and has a seat of another.
        let (other, map) = client.seat_map(1).await?;
        let elsewhere = map["seats"][0]["id"].clone();
        let mut body = valid();
        body["seatIds"] = json!([seats[0], elsewhere]);
        body["concertId"] = json!(other);
        let accepted = client.post("/ticket-bookings", &body).await?;
        let status = client.final_status(accepted.location()?).await?;
        assert_eq!(
            (&status["status"], &status["problem"]["code"]),
            (&json!("rejected"), &json!("seats-not-found"))
        );
        assert_eq!(status["problem"]["seatIds"], json!([seats[0]]));
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 0);
        Ok(())
    })
    .await
}
