//! The catalogue endpoints, as an organizer uses them to create and manage concerts.

use anyhow::{Context, Result};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

fn concert() -> Value {
    json!({
        "title": "Folk Night", "artist": "Kutumba", "date": "2027-03-01", "time": "18:30", "venue": "Patan Durbar",
        "city": "Lalitpur", "image": "https://example.com/folk.jpg",
    })
}

fn with_empty_catalogue() -> Setup {
    Setup { variables: vec![("SEED_ON_START", "false")], ..Setup::default() }
}

async fn created(client: &Client, path: &str, body: Value) -> Result<Value> {
    let answer = client.write(Method::POST, path, &body).await?;
    assert_eq!(answer.status, 201, "{path}: {answer:?}");
    let location = client.get(answer.location()?).await?;
    assert_eq!(location.status, 200, "{path}: {answer:?}, {location:?}");
    Ok(answer.body)
}

#[tokio::test]
async fn a_concert_is_created_and_booked_over_http() -> Result<()> {
    Deployment::run(with_empty_catalogue(), async |deployment| {
        let client = deployment.client();
        assert_eq!(
            client.get("/concerts").await?.body,
            json!({"data": [], "page": 1, "limit": 10, "total": 0, "totalPages": 0})
        );

        let made = created(client, "/concerts", concert()).await?;
        let id = made["id"].as_str().context("no id")?;
        let mut expected = concert();
        expected["id"] = json!(id);
        expected["time"] = json!("18:30:00");
        expected["description"] = Value::Null;
        assert_eq!(made, expected);
        assert_eq!(client.get(&format!("/concerts/{id}")).await?.body, expected);

        let balcony = created(client, "/ticket-types", json!({"name": "Balcony"})).await?;
        assert_eq!(client.get("/ticket-types").await?.body, json!([balcony]));
        let tier = json!({
            "concertId": id, "ticketTypeId": balcony["id"], "price": "25.5", "total": 99, "available": 99,
        });
        let tier = created(client, "/ticket-tiers", tier).await?;
        assert_eq!(
            (&tier["price"], &tier["total"], &tier["available"]),
            (&json!("25.50"), &json!(0), &json!(0))
        );

        let path = format!("/concerts/{id}/seats");
        let block = json!({"ticketTierId": tier["id"], "section": "balcony", "rows": 2, "seatsPerRow": 3});
        let first = created(client, &path, block.clone()).await?;
        assert_eq!(
            (&first["created"], &first["firstSeatNumber"], &first["lastSeatNumber"]),
            (&json!(6), &json!("B-1"), &json!("B-6"))
        );
        let second = created(client, &path, block).await?;
        assert_eq!((&second["firstSeatNumber"], &second["tier"]["available"]), (&json!("B-7"), &json!(12)));

        let map = client.get(&format!("/seats/concert/{id}")).await?.body;
        assert_eq!(
            (&map["totalSeats"], &map["availableSeats"], &map["bookedSeats"]),
            (&json!(12), &json!(12), &json!(0))
        );
        let rows: Vec<&Value> =
            map["seats"].as_array().context("no seats")?.iter().map(|seat| &seat["row"]).collect();
        assert_eq!(rows, [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]);
        assert_eq!(map["seats"][0]["section"], "balcony");
        assert!(map["seats"][0].get("bookedAt").is_none());

        let seats: Vec<i64> =
            map["seats"].as_array().into_iter().flatten().filter_map(|seat| seat["id"].as_i64()).collect();
        let booked = client.book_seats("alice", &seats[..2]).await?;
        assert_eq!(booked.body["ticketData"][0]["totalAmount"], "51.00", "{booked:?}");
        let free = client.get(&format!("/seats/concert/{id}/available")).await?.body;
        assert_eq!(free.as_array().map(Vec::len), Some(10));
        let tier = client.get(&format!("/ticket-tiers/{}", tier["id"])).await?.body;
        assert_eq!((&tier["total"], &tier["available"]), (&json!(12), &json!(10)));
        assert_eq!(client.get("/ticket-tiers/all").await?.body, json!([tier]));
        assert_eq!(client.get("/ticket-tiers").await?.body["data"], json!([tier]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tiers_and_concerts_with_sales_cannot_be_deleted() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let seat = map["seats"][0]["id"].as_i64().context("no seat")?;
        let tier = &map["seats"][0]["ticketTierId"];
        assert_eq!(client.book_seats("alice", &[seat]).await?.status, 201);

        let delete = async |path: String| client.write(Method::DELETE, &path, &Value::Null).await;
        for path in [format!("/concerts/{concert}"), format!("/ticket-tiers/{tier}")] {
            let answer = delete(path.clone()).await?;
            assert_eq!((answer.status, answer.code()), (409, "has-sales"), "{path}: {answer:?}");
        }
        assert_eq!(client.seat_map(0).await?.1["totalSeats"], 100);

        let unsold_tier = &map["seats"][99]["ticketTierId"];
        assert_eq!(delete(format!("/ticket-tiers/{unsold_tier}")).await?.status, 204);
        assert_eq!(client.seat_map(0).await?.1["totalSeats"], 40);
        let (unsold, _) = client.seat_map(1).await?;
        assert_eq!(delete(format!("/concerts/{unsold}")).await?.status, 204);
        let again = delete(format!("/concerts/{unsold}")).await?;
        assert_eq!((again.status, again.code()), (404, "not-found"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn writes_require_the_admin_token_and_reads_do_not() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
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
        ];
        for (method, path) in writes {
            let client = deployment.client();
            for request in [
                client.request(method.clone(), &path),
                client.request(method.clone(), &path).bearer_auth("a-token-for-tests-onlx"),
                client.request(method.clone(), &path).basic_auth("admin", Some("a-token-for-tests-only")),
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
async fn a_sales_window_is_enforced_by_the_worker_and_shown_in_the_catalogue() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (id, map) = client.seat_map(0).await?;
        let seat = map["seats"][0]["id"].as_i64().context("no seat")?;
        let mut update = client.get(&format!("/concerts/{id}")).await?.body;

        update["salesOpenAt"] = json!("2099-01-01T00:00:00Z");
        let answer = client.write(Method::PUT, "/concerts", &update).await?;
        assert_eq!(
            (answer.status, &answer.body["salesOpenAt"]),
            (200, &json!("2099-01-01T00:00:00.000Z")),
            "{answer:?}"
        );
        let early = client.book_seats("alice", &[seat]).await?;
        assert_eq!((early.status, early.code()), (409, "sale-not-open"));
        assert_eq!(early.body["opensAt"], "2099-01-01T00:00:00.000Z");

        update["salesOpenAt"] = json!("2020-01-01T00:00:00Z");
        update["salesCloseAt"] = json!("2020-01-02T00:00:00Z");
        assert_eq!(client.write(Method::PUT, "/concerts", &update).await?.status, 200);
        let late = client.book_seats("alice", &[seat]).await?;
        assert_eq!((late.status, late.code()), (409, "sale-closed"));

        update["salesOpenAt"] = json!("2020-01-03T00:00:00Z");
        let reversed = client.write(Method::PUT, "/concerts", &update).await?;
        assert_eq!((reversed.status, reversed.code()), (422, "invalid-request"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_new_price_applies_only_to_later_sales() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (concert, map) = client.seat_map(0).await?;
        let seats: Vec<i64> =
            map["seats"].as_array().into_iter().flatten().filter_map(|seat| seat["id"].as_i64()).collect();
        let before = client.book_seats("alice", &seats[..1]).await?;

        let change = json!({
            "id": map["seats"][0]["ticketTierId"], "concertId": concert, "ticketTypeId": 1, "price": 120,
        });
        assert_eq!(client.write(Method::PUT, "/ticket-tiers", &change).await?.body["price"], "120.00");
        let after = client.book_seats("bob", &seats[1..2]).await?;
        assert_eq!(after.body["ticketData"][0]["totalAmount"], "120.00");
        // The price of an earlier sale does not change.
        let status = client.get(before.location()?).await?;
        assert_eq!(status.body["booking"]["ticketData"][0]["totalAmount"], "100.00");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn instances_that_start_together_migrate_and_seed_once() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        for _ in 0..4 {
            deployment.launch_api(&[]).await?;
        }
        for api in &deployment.apis {
            api.client.wait_until_ready().await?;
            assert_eq!(api.client.get("/concerts").await?.body["total"], 3);
        }
        let seats =
            wait_until("the seats exist", async || Ok(Some(deployment.client().seat_ids(2).await?))).await?;
        assert_eq!(seats.len(), 100);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn seat_map_queries_use_at_most_two_database_sessions() -> Result<()> {
    let variables = vec![("DATABASE_CONNECTIONS", "4")];
    Deployment::run(Setup { variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, _) = client.seat_map(0).await?;
        let mut holder = deployment.pool.begin().await?;
        sqlx::raw_sql("LOCK TABLE seats IN ACCESS EXCLUSIVE MODE").execute(&mut *holder).await?;
        let path = format!("/seats/concert/{concert}");
        let maps = (0..12).map(|_| {
            tokio::spawn({
                let (client, path) = (client.clone(), path.clone());
                async move { client.get(&path).await }
            })
        });
        let maps: Vec<_> = maps.collect();
        wait_until("two seat maps are being read", async || {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock' \
                 AND application_name LIKE 'hamro-api%'",
            )
            .fetch_one(&deployment.pool)
            .await?;
            assert!(waiting <= 2, "{waiting} seat maps are being read");
            Ok((waiting == 2).then_some(()))
        })
        .await?;
        // The other requests for seat maps wait without a session.
        let created = client.write(Method::POST, "/ticket-types", &json!({"name": "Balcony"})).await?;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(client.get("/concerts").await?.status, 200);
        holder.rollback().await?;
        for map in maps {
            let map = map.await??;
            assert_eq!(map.status, 200, "{map:?}");
        }
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
