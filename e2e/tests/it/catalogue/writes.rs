//! Writes to the catalogue that are refused or fail.

use anyhow::{Context, Result};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::{Value, json};

use super::concert;

#[tokio::test]
async fn writes_require_the_admin_token_and_reads_do_not() -> Result<()> {
    let variables = vec![("ADMIN_FAILURES_MAX", "1000")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let closed = deployment.start_api(&[("ADMIN_TOKEN", "")]).await?;
        let id = deployment.client().seat_map(0).await?.0;
        let writes = [
            (Method::POST, "/concerts".to_owned()),
            (Method::PUT, "/concerts".to_owned()),
            (Method::DELETE, format!("/concerts/{id}")),
            (Method::POST, format!("/concerts/{id}/seats")),
            (Method::POST, "/ticket-tiers".to_owned()),
            (Method::PUT, "/ticket-tiers".to_owned()),
            (Method::DELETE, "/ticket-tiers/1".to_owned()),
            (Method::POST, "/ticket-types".to_owned()),
            (Method::DELETE, "/ticket-types/1".to_owned()),
            (Method::DELETE, "/seats/1".to_owned()),
            (Method::POST, "/ticket-bookings/019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88/release".to_owned()),
            (Method::DELETE, format!("/concerts/{id}/seats?section=vip")),
        ];
        for (method, path) in writes {
            let client = deployment.client();
            for request in [
                client.request(method.clone(), &path),
                client.request(method.clone(), &path).bearer_auth("a-token-for-tests-onlx"),
                client
                    .request(method.clone(), &path)
                    .header("Authorization", "Basic YWRtaW46YS10b2tlbi1mb3ItdGVzdHMtb25seQ=="),
            ] {
                let answer = Client::send(request).await?;
                assert_eq!(
                    (answer.status, answer.code()),
                    (401, "unauthorized"),
                    "{method} {path}: {answer:?}"
                );
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            }
            let client = &deployment.apis[closed].client;
            let answer = client.write(method.clone(), &path, &json!({})).await?;
            assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{method} {path}: {answer:?}");
        }
        assert_eq!(deployment.client().get("/concerts").await?.body["total"], 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_invalid_write_is_answered_with_every_invalid_field() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (id, map) = client.seat_map(0).await?;
        let tier = &map["seats"][0]["ticketTierId"];
        let seats = format!("/concerts/{id}/seats");
        let nowhere = "00000000-0000-0000-0000-000000000000";
        let changed = |body: Value, field: &str, value: Value| {
            let mut body = body;
            body[field] = value;
            body
        };
        let block = json!({"ticketTierId": tier, "section": "vip", "rows": 1, "seatsPerRow": 1});
        let new_tier = json!({"concertId": id, "ticketTypeId": 1, "price": "1.00"});
        for (method, path, body, invalid) in [
            (
                Method::POST,
                "/concerts",
                json!({}),
                vec!["title", "artist", "date", "time", "venue", "city", "image"],
            ),
            (Method::POST, "/concerts", changed(concert(), "date", json!("2027-02-30")), vec!["date"]),
            (Method::POST, "/concerts", changed(concert(), "time", json!("25:00")), vec!["time"]),
            (
                Method::POST,
                "/concerts",
                changed(concert(), "image", json!("javascript:alert(1)")),
                vec!["image"],
            ),
            (Method::POST, "/concerts", changed(concert(), "title", json!("a\0b")), vec!["title"]),
            (
                Method::POST,
                "/concerts",
                changed(concert(), "salesOpenAt", json!("tomorrow")),
                vec!["salesOpenAt"],
            ),
            (Method::PUT, "/concerts", concert(), vec!["id"]),
            (
                Method::PUT,
                "/concerts",
                changed(changed(concert(), "id", json!(id)), "artist", json!(7)),
                vec!["artist"],
            ),
            (Method::POST, "/ticket-types", json!({"name": ""}), vec!["name"]),
            (Method::POST, "/ticket-tiers", json!({}), vec!["concertId", "ticketTypeId", "price"]),
            (Method::POST, "/ticket-tiers", changed(new_tier.clone(), "price", json!("-1")), vec!["price"]),
            (Method::POST, "/ticket-tiers", changed(new_tier.clone(), "price", json!(1.005)), vec!["price"]),
            (
                Method::POST,
                "/ticket-tiers",
                changed(new_tier.clone(), "concertId", json!(nowhere)),
                vec!["concertId"],
            ),
            (
                Method::POST,
                "/ticket-tiers",
                changed(new_tier, "ticketTypeId", json!(999)),
                vec!["ticketTypeId"],
            ),
            (Method::POST, &seats, json!({}), vec!["ticketTierId", "section", "rows", "seatsPerRow"]),
            (Method::POST, &seats, changed(block.clone(), "rows", json!(0)), vec!["rows"]),
            (
                Method::POST,
                &seats,
                changed(block.clone(), "seatsPerRow", json!(1_000_000)),
                vec!["seatsPerRow"],
            ),
            (Method::POST, &seats, changed(block.clone(), "prefix", json!("a-b")), vec!["prefix"]),
            (Method::POST, &seats, changed(block, "ticketTierId", json!(999)), vec!["ticketTierId"]),
        ] {
            let answer = client.write(method, path, &body).await?;
            assert_eq!((answer.status, answer.code()), (422, "invalid-request"), "{path} {body}: {answer:?}");
            let errors = answer.body["errors"].as_array().context("no errors")?;
            let fields: Vec<&str> = errors.iter().filter_map(|error| error["field"].as_str()).collect();
            assert_eq!(fields, invalid, "{path} {body}: {answer:?}");
        }
        let twice = client.write(Method::POST, "/ticket-types", &json!({"name": "VIP"})).await?;
        assert_eq!((twice.status, twice.code()), (409, "already-exists"));
        let unknown = client
            .write(
                Method::POST,
                &format!("/concerts/{nowhere}/seats"),
                &json!({"ticketTierId": tier, "section": "x", "rows": 1, "seatsPerRow": 1}),
            )
            .await?;
        assert_eq!((unknown.status, unknown.code()), (404, "not-found"));
        assert_eq!(client.get("/concerts").await?.body["total"], 3);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_write_that_fails_because_of_the_database_state_is_answered_503() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        // The cause is logged as an error.
        deployment.expects_errors = true;
        let client = deployment.client().clone();
        let causes = [
            (
                "ALTER SEQUENCE ticket_types_id_seq MAXVALUE 1000; \
                 SELECT setval('ticket_types_id_seq', 1000)",
                "reached maximum",
            ),
            (
                "ALTER SEQUENCE ticket_types_id_seq NO MAXVALUE; \
                 SELECT setval('ticket_types_id_seq', 1, false)",
                "ticket_types_pkey",
            ),
        ];
        for (statements, cause) in causes {
            sqlx::raw_sql(statements).execute(&deployment.pool).await?;
            let answer = client.write(Method::POST, "/ticket-types", &json!({"name": "Balcony"})).await?;
            assert_eq!((answer.status, answer.code()), (503, "database-fault"), "{answer:?}");
            deployment.apis[0].process.line_after(cause).await?;
        }
        sqlx::raw_sql("SELECT setval('ticket_types_id_seq', 1000)").execute(&deployment.pool).await?;
        let answer = client.write(Method::POST, "/ticket-types", &json!({"name": "Balcony"})).await?;
        assert_eq!(answer.status, 201, "{answer:?}");
        Ok(())
    })
    .await
}
