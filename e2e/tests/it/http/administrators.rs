//! Administrators: several tokens, the log of their changes, and clients that guess tokens.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hamro_e2e::client::{ADMIN_TOKEN, ApiResponse, Client};
use hamro_e2e::{Deployment, Setup, wait_until};
use hyper::Method;
use serde_json::json;

const ALICE: &str = "b0f3a1c2d4e5968778695a4b";
const BOB: &str = "7c1d2e3f4a5b60718293a4b5";
const TOKENS: &str = "alice=b0f3a1c2d4e5968778695a4b,bob.2=7c1d2e3f4a5b60718293a4b5";

/// Creates a ticket type with this token, as the client at this address.
async fn create_type(client: &Client, token: &str, address: &str, name: &str) -> Result<ApiResponse> {
    let request = client.request(Method::POST, "/ticket-types").bearer_auth(token);
    Client::send(request.header("X-Forwarded-For", address).json(&json!({"name": name}))).await
}

fn setup() -> Setup {
    let variables = vec![("ADMIN_TOKENS", TOKENS), ("TRUSTED_PROXIES", "127.0.0.1")];
    Setup { workers: 0, variables, ..Setup::default() }
}

#[tokio::test]
async fn every_administrator_has_a_token_and_the_log_names_who_made_a_change() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let client = deployment.client().clone();
        for (token, name) in [(ADMIN_TOKEN, "One"), (ALICE, "Two"), (BOB, "Three")] {
            let created = create_type(&client, token, "198.51.100.1", name).await?;
            assert_eq!(created.status, 201, "{created:?}");
        }
        let refused = create_type(&client, ALICE, "198.51.100.1", "Two").await?;
        assert_eq!((refused.status, refused.code()), (409, "already-exists"));
        // More than the lines per second of other places in the code.
        for number in 0..40 {
            create_type(&client, BOB, "198.51.100.1", &format!("Type {number}")).await?;
        }
        let id = client.seat_map(0).await?.0;
        let path = format!("/concerts/{id}/seats");
        let body = json!({"ticketTierId": 1, "section": "balcony", "rows": 1, "seatsPerRow": 1});
        let added = Client::send(client.request(Method::POST, &path).bearer_auth(ALICE).json(&body)).await?;
        assert_eq!(added.status, 201, "{added:?}");

        let api = &mut deployment.apis[0].process;
        for line in [
            "administrator admin: POST /ticket-types, created /ticket-types",
            "administrator alice: POST /ticket-types, created /ticket-types",
            "administrator bob.2: POST /ticket-types, created /ticket-types",
            &format!("administrator alice: POST {path}"),
        ] {
            api.line_after(line).await?;
        }
        let log = api.printed();
        let count = |text: &str| log.matches(text).count();
        assert_eq!((count("administrator alice: "), count("administrator bob.2: ")), (2, 41), "{log}");
        for secret in [ADMIN_TOKEN, ALICE, BOB] {
            assert!(!log.contains(secret), "{log}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_guesses_admin_tokens_is_logged_and_slowed_down_and_others_are_not() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let client = deployment.client().clone();
        let guess = async || create_type(&client, "not-a-token-of-anyone", "203.0.113.9", "Guess").await;
        for number in 0..10 {
            let answer = guess().await?;
            assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{number}: {answer:?}");
        }
        let began = Instant::now();
        let (mut compared, mut refused) = (0, 0);
        while began.elapsed() < Duration::from_millis(2_500) {
            let answer = guess().await?;
            match answer.status {
                401 => compared += 1,
                429 => {
                    let wait: u64 = answer.header("retry-after").context("no Retry-After")?.parse()?;
                    assert!((1..=60).contains(&wait), "{answer:?}");
                    assert_eq!(answer.code(), "too-many-requests");
                    refused += 1;
                }
                _ => panic!("{answer:?}"),
            }
        }
        // After the first second, one is compared, and then the next two seconds none.
        assert!(compared <= 1 && refused > 10, "{compared} compared, {refused} refused");
        // The right token neither, so that a guess reveals nothing. From elsewhere it is valid throughout.
        assert_eq!(create_type(&client, ALICE, "203.0.113.9", "Here").await?.status, 429);
        assert_eq!(create_type(&client, ALICE, "203.0.113.10", "Elsewhere").await?.status, 201);
        // Everything that needs no token, and a request without one, is served.
        let reads = client.request(Method::GET, "/concerts").header("X-Forwarded-For", "203.0.113.9");
        assert_eq!(Client::send(reads.bearer_auth("not-a-token-of-anyone")).await?.status, 200);
        let without = client.request(Method::POST, "/ticket-types").header("X-Forwarded-For", "203.0.113.9");
        assert_eq!(Client::send(without.json(&json!({}))).await?.status, 401);
        wait_until("the right token is accepted again", async || {
            let answer = create_type(&client, ALICE, "203.0.113.9", "Later").await?;
            Ok((answer.status == 201).then_some(()))
        })
        .await?;

        let api = &mut deployment.apis[0].process;
        let line = api.line_after("failed attempts with an admin token in the last second: ").await?;
        assert!(line.contains("from 203.0.113.9"), "{line}");
        api.line_after("refused without comparing)").await?;
        let log = api.printed();
        assert!(!log.contains("not-a-token") && !log.contains(ALICE), "{log}");
        let reports = log.matches("failed attempts with an admin token").count();
        assert!(reports <= 30, "{log}");
        Ok(())
    })
    .await
}
