//! Names and e-mail addresses in all scripts, of customers and in the catalogue.

use anyhow::{Context, Result};
use hamro_e2e::client::{ApiResponse, Client};
use hamro_e2e::{Deployment, Setup, tables};
use hyper::Method;
use serde_json::{Value, json};

const INVISIBLE: [&str; 10] = [
    "\u{200b}",
    "\u{2800}",
    "\u{ad}",
    "\u{3164}",
    "\u{200d}",
    "Al\u{202e}ice",
    "Al\u{2028}ice",
    "Al\u{2066}ice",
    "Al\u{e0041}ice",
    "Al\u{1}ice",
];

const VISIBLE: [&str; 5] =
    ["क्\u{200d}षितिज", "می\u{200c}خواهم", "محمد", "👩\u{200d}👩\u{200d}👧", "❤\u{fe0f} Zoe\u{308}"];

async fn book(client: &Client, key: &str, name: &str, email: &str, seat: i64) -> Result<ApiResponse> {
    let body = json!({"userName": name, "userEmail": email, "seatIds": [seat]});
    let request = client.request(Method::POST, "/ticket-bookings/seats").header("Idempotency-Key", key);
    Client::send(request.json(&body)).await
}

fn assert_refused(answer: &ApiResponse, field: &str) {
    let error = &answer.body["errors"][0];
    assert_eq!((answer.status, error["field"].as_str()), (422, Some(field)), "{answer:?}");
    let detail = error["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("visible") || detail.contains("e-mail address"), "{answer:?}");
}

#[tokio::test]
async fn a_customer_is_shown_as_typed_in_any_script_and_must_be_visible() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let emails = [
            "प्रकाश@example.com",
            "संपर्क@डाटामेल.भारत",
            "a@exämple.de",
            "A@Example。com",
            "o'neil+x@example.com",
        ];
        for (n, (name, email)) in VISIBLE.into_iter().zip(emails).enumerate() {
            let booked = book(client, "key", name, email, seats[n]).await?;
            assert_eq!(booked.status, 201, "{booked:?}");
            assert_eq!((&booked.body["userName"], &booked.body["userEmail"]), (&json!(name), &json!(email)));
        }
        for name in INVISIBLE {
            assert_refused(&book(client, "key", name, "alice@example.com", seats[9]).await?, "userName");
        }
        for email in ["a@b!c.d", "a\u{200b}@example.com", "a@exa\u{202e}mple.com", "\u{3164}@example"] {
            assert_refused(&book(client, "key", "Alice", email, seats[9]).await?, "userEmail");
        }
        // 100 characters, whatever their length in bytes.
        let long = "क्\u{200d}षि".repeat(20);
        assert_eq!(book(client, "key-2", &long, "alice@example.com", seats[9]).await?.status, 201);
        assert_eq!(book(client, "key-3", &format!("{long}क"), "a@b.cd", seats[9]).await?.status, 422);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_retry_with_another_spelling_of_the_address_shares_the_outcome() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        for (n, spellings) in [
            &["a@exämple.de", "a@xn--exmple-cua.de", "A@EXÄMPLE.DE", "a@exa\u{308}mple.de"][..],
            &["a@example.com", "A@Example.COM", "a@example。com", "a@ｅｘａｍｐｌｅ.com"],
            &["zoë@example.com", "Zoe\u{308}@example.com"],
        ]
        .into_iter()
        .enumerate()
        {
            let first = book(client, "key", "Alice", spellings[0], seats[n]).await?;
            assert_eq!(first.status, 201, "{first:?}");
            for spelling in &spellings[1..] {
                let again = book(client, "key", "Alice", spelling, seats[n]).await?;
                assert_eq!(
                    (again.status, &again.body["id"]),
                    (201, &first.body["id"]),
                    "{spelling}: {again:?}"
                );
            }
        }
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 3);
        // Another customer, who has chosen the same key.
        let other = book(client, "key", "Alice", "a@exemple.de", seats[0]).await?;
        assert_eq!((other.status, other.code()), (409, "seats-taken"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_name_of_the_catalogue_must_be_visible() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let tier = &map["seats"][0]["ticketTierId"];
        let new_concert = json!({
            "title": "T", "artist": "A", "date": "2030-06-01", "time": "20:00", "venue": "V", "city": "C",
            "image": "https://example.com/a.jpg",
        });
        let seats = format!("/concerts/{concert}/seats");
        let block = json!({"ticketTierId": tier, "section": "s", "rows": 1, "seatsPerRow": 1});
        let targets = [
            ("/concerts", &new_concert, "title"),
            ("/concerts", &new_concert, "artist"),
            ("/concerts", &new_concert, "venue"),
            ("/concerts", &new_concert, "city"),
            ("/ticket-types", &json!({}), "name"),
            (&seats, &block, "section"),
        ];
        let with = |body: &Value, field: &str, text: &str| {
            let mut body = body.clone();
            body[field] = json!(text);
            body
        };
        for (path, body, field) in targets {
            for text in INVISIBLE {
                assert_refused(&client.write(Method::POST, path, &with(body, field, text)).await?, field);
            }
            for text in VISIBLE {
                let created = client.write(Method::POST, path, &with(body, field, text)).await?;
                assert_eq!(created.status, 201, "{path} {field} {text}: {created:?}");
            }
        }
        let described = with(&new_concert, "description", "One\r\n\n\tTwo 👩\u{200d}👧");
        let created = client.write(Method::POST, "/concerts", &described).await?;
        assert_eq!((created.status, &created.body["description"]), (201, &described["description"]));
        for text in ["\u{202e}", "One\u{0}", "Two\u{2066}"] {
            let refused =
                client.write(Method::POST, "/concerts", &with(&new_concert, "description", text)).await?;
            assert_eq!(refused.body["errors"][0]["field"], "description", "{refused:?}");
        }
        let refused = client.write(Method::POST, &seats, &with(&block, "prefix", "\u{200b}")).await?;
        assert_eq!(refused.body["errors"][0]["field"].as_str().context("no error")?, "prefix");
        Ok(())
    })
    .await
}
