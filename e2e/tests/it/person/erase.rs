//! `hamro-api person erase`.

use anyhow::{Context, Result};
use hamro_e2e::{Client, Deployment};
use hamro_shared::domain::{CustomerName, Email};
use hyper::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;

use super::{ADDRESS, TRACES, booking, columns_with, discard, hamro_api, unreadable, with_dead_letters};

const NEIGHBOURS: [&str; 4] =
    ["zenobiaxyz@example.com", "zenobia__@example.com", "azenobia_%@example.com", "zenobia_%@example.com.np"];

async fn erase(deployment: &Deployment, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let (status, printed, error) = hamro_api(deployment, &[&["person", "erase"], arguments].concat()).await?;
    Ok((status, printed + &error))
}

/// All tables of the schema, with their rows as text.
async fn contents(pool: &PgPool) -> Result<Vec<(String, String)>> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
    )
    .fetch_all(pool)
    .await?;
    let mut contents = Vec::new();
    for table in tables {
        let rows = format!("SELECT coalesce(string_agg(t::text, E'\n' ORDER BY t::text), '') FROM {table} t");
        contents.push((table, sqlx::query_scalar(AssertSqlSafe(rows)).fetch_one(pool).await?));
    }
    Ok(contents)
}

#[tokio::test]
async fn an_erasure_removes_a_person_from_every_table_and_keeps_the_seats_sold() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let book = |body: Value| client.request(Method::POST, "/ticket-bookings/seats").json(&body);
        let keyed = booking("Zenobia Quartz", ADDRESS, &seats[..2]);
        let first = Client::send(book(keyed.clone()).header("Idempotency-Key", "k1")).await?;
        assert_eq!(first.status, 201);
        let upper_case = booking("ZENOBIA QUARTZ", &ADDRESS.to_uppercase(), &seats[2..3]);
        let upper_case = Client::send(book(upper_case)).await?;
        assert_eq!(upper_case.status, 201);
        let release = json!({"reason": format!("zenobia quartz, {ADDRESS}, has called")});
        let path = format!("{}/release", upper_case.location()?);
        assert_eq!(client.write(Method::POST, &path, &release).await?.status, 200);
        let rejected = Client::send(book(booking("Zenobia Quartz", ADDRESS, &seats[..1]))).await?;
        assert_eq!(rejected.code(), "seats-taken");
        for (neighbour, seat) in NEIGHBOURS.iter().zip(&seats[3..]) {
            assert_eq!(Client::send(book(booking("Neighbour", neighbour, &[*seat]))).await?.status, 201);
        }
        let letters = unreadable(deployment).await?;
        assert_eq!(letters.len(), 2);
        for id in &letters {
            discard(deployment, *id, &format!("{ADDRESS} has called")).await?;
        }
        for trace in TRACES {
            assert!(columns_with(&deployment.pool, trace).await?.len() >= 3, "{trace}");
        }

        // As if their seats had been counted.
        let lock = "INSERT INTO customer_locks (concert_id, customer_digest)
                    SELECT DISTINCT gen_random_uuid(), customer_digest FROM sales";
        sqlx::query(lock).execute(&deployment.pool).await?;
        let before = contents(&deployment.pool).await?;
        let (status, message) = erase(deployment, &["--email", &ADDRESS.to_uppercase()]).await?;
        assert_eq!(status, Some(0), "{message}");
        assert!(message.contains("Nothing was changed"), "{message}");
        assert!(message.contains("2 sales, 3 bookings and 2 resolved dead letters"), "{message}");
        assert_eq!(contents(&deployment.pool).await?, before);

        let (status, applied) = erase(deployment, &["--email", &ADDRESS.to_uppercase(), "--apply"]).await?;
        assert_eq!(status, Some(0), "{applied}");
        assert!(applied.contains("2 sales, 3 bookings and 2 resolved dead letters"), "{applied}");
        for trace in TRACES {
            let columns: Vec<String> = columns_with(&deployment.pool, trace).await?;
            // Two neighbours have addresses that contain the person's.
            let others = if trace == ADDRESS { 2 } else { 0 };
            assert_eq!(columns.len(), others, "{trace}: {columns:?}");
            for printed in [&message, &applied] {
                assert!(!printed.to_lowercase().contains(trace), "{printed}");
            }
        }
        for neighbour in NEIGHBOURS {
            let kept: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM sales s JOIN bookings b ON b.sale_id = s.id AND b.user_email = s.user_email
             WHERE s.user_email = $1 AND s.user_name = 'Neighbour' AND b.user_name = 'Neighbour'",
        )
        .bind(neighbour)
        .fetch_one(&deployment.pool)
        .await?;
            assert_eq!(kept, 1, "{neighbour}");
        }
        let persons: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM sales WHERE user_email LIKE '%zenobia%' OR user_name ILIKE '%zenobia%'",
        )
        .fetch_one(&deployment.pool)
        .await?;
        assert_eq!(persons, 4, "only the neighbours remain");
        let digests = "SELECT count(*) FROM sales WHERE customer_digest IS NULL AND tagged_digest IS NULL";
        let without_digest: i64 = sqlx::query_scalar(digests).fetch_one(&deployment.pool).await?;
        assert_eq!(without_digest, 2, "those of the person");
        let of_nobody = "SELECT count(*) FROM customer_locks
                         WHERE customer_digest NOT IN (SELECT customer_digest FROM sales WHERE customer_digest IS NOT NULL)";
        assert_eq!(sqlx::query_scalar::<_, i64>(of_nobody).fetch_one(&deployment.pool).await?, 0);
        let (status, again) = erase(deployment, &["--email", ADDRESS, "--apply"]).await?;
        assert!(status == Some(0) && again.contains("0 sales, 0 bookings and 0"), "{again}");

        // An instance with an empty cache.
        let fresh = deployment.start_api(&[]).await?;
        let fresh = deployment.apis[fresh].client.clone();
        let status = fresh.final_status(first.location()?).await?;
        assert_eq!(status["status"], "confirmed");
        let mut expected = first.body.clone();
        expected["userName"] = CustomerName::erased().as_str().into();
        expected["userEmail"] = Email::erased().as_str().into();
        assert_eq!(status["booking"], expected);
        let again = fresh.request(Method::POST, "/ticket-bookings/seats").header("Idempotency-Key", "k1");
        let again = Client::send(again.json(&keyed)).await?;
        assert_eq!((again.status, again.body), (201, expected));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_erasure_is_refused_while_a_dead_letter_of_the_person_is_open() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let body = booking("Zenobia Quartz", ADDRESS, &seats[..1]);
        assert_eq!(deployment.client().post("/ticket-bookings/seats", &body).await?.status, 201);
        let letters = unreadable(deployment).await?;
        let (decided, open) = (letters.first().context("no letter")?, letters.last().context("no letter")?);
        discard(deployment, *decided, "it cannot be read").await?;

        let before = contents(&deployment.pool).await?;
        let (status, message) = erase(deployment, &["--email", ADDRESS]).await?;
        assert_eq!(status, Some(0), "{message}");
        let (refused, error) = erase(deployment, &["--email", ADDRESS, "--apply"]).await?;
        assert_eq!(refused, Some(1), "{error}");
        for printed in [message, error] {
            assert!(printed.contains(&format!("of this person: {open}. Resolve each")), "{printed}");
            assert!(!printed.to_lowercase().contains("zenobia"), "{printed}");
        }
        assert_eq!(contents(&deployment.pool).await?, before);

        discard(deployment, *open, "it cannot be read").await?;
        let (status, message) = erase(deployment, &["--email", ADDRESS, "--apply"]).await?;
        assert!(status == Some(0) && message.contains("1 sales, 1 bookings and 2"), "{message}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_erasure_with_an_invalid_address_explains_the_error() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        for (arguments, expected) in [
            (&["--email", "zenobia"][..], "must be an e-mail address such as"),
            (&[][..], "--email <ADDRESS>"),
            (
                &["--email", Email::erased().as_str(), "--apply"][..],
                "is the placeholder for erased addresses",
            ),
        ] {
            let (status, message) = erase(deployment, arguments).await?;
            assert!(status.is_some_and(|status| status > 0) && message.contains(expected), "{message}");
        }
        Ok(())
    })
    .await
}

/// Scripts of the first version use it.
#[tokio::test]
async fn the_earlier_name_of_the_command_does_the_same() -> Result<()> {
    Deployment::run(with_dead_letters(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let body = booking("Zenobia Quartz", ADDRESS, &seats[..1]);
        assert_eq!(deployment.client().post("/ticket-bookings/seats", &body).await?.status, 201);
        for arguments in
            [&["--email", ADDRESS][..], &["--email", ADDRESS, "--apply"], &["--email", "zenobia"]]
        {
            let earlier = hamro_api(deployment, &[&["erase"], arguments].concat()).await?;
            if arguments.contains(&"--apply") {
                assert!(
                    earlier.0 == Some(0) && earlier.1.contains("in 1 sales, 1 bookings and 0"),
                    "{earlier:?}"
                );
            } else {
                let today = hamro_api(deployment, &[&["person", "erase"], arguments].concat()).await?;
                assert_eq!((earlier.0, &earlier.1), (today.0, &today.1));
            }
        }
        Ok(())
    })
    .await
}
