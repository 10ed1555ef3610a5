//! Dead letters over HTTP. `dead_letters::*` tests the same actions as commands.

use anyhow::{Context, Result};
use hamro_e2e::client::{ApiResponse, Client};
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Deployment, Setup, tables};
use hamro_shared::queue::Envelope;
use hyper::Method;
use serde_json::{Value, json};

use super::get;

fn setup() -> Setup {
    let variables = vec![("REAPER_DELAY", "0s")];
    Setup { workers: 0, variables, expects_errors: true, ..Setup::default() }
}

/// Turns this booking into a dead letter, and returns its path.
async fn dead_letter(deployment: &mut Deployment, envelope: &Envelope) -> Result<String> {
    let id = deployment.store_dead_letter(envelope).await?;
    Ok(format!("/ops/dead-letters/{id}"))
}

async fn decide(client: &Client, letter: &str, decision: &str) -> Result<ApiResponse> {
    let body = json!({"reason": "The customer has called."});
    client.write(Method::POST, &format!("{letter}/{decision}"), &body).await
}

#[tokio::test]
async fn a_dead_letter_is_shown_and_reissued_once_with_the_name_of_the_administrator() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let none = get(&client, "/ops/dead-letters").await?;
        assert_eq!(none.body, json!({"deadLetters": [], "next": null}));
        let alice = envelope("alice", &seats[..2])?;
        let letter = dead_letter(deployment, &alice).await?;

        let list = get(&client, "/ops/dead-letters").await?;
        let entry = &list.body["deadLetters"][0];
        assert_eq!((&entry["ticketId"], &entry["reason"]), (&json!(alice.ticket.id), &"workers-died".into()));
        assert!(entry["detail"].is_string() && entry["createdAt"].is_string(), "{entry}");
        assert!(!list.body.to_string().contains("alice@"), "{list:?}");
        let shown = get(&client, &letter).await?;
        assert_eq!(shown.header("cache-control"), Some("no-store"));
        assert!(shown.body["payload"].as_str().is_some_and(|text| text.contains("alice@example.com")));
        assert_eq!(shown.body["ticket"]["status"], "failed");

        // Also while the intake is paused: the booking was accepted before.
        super::set_controls(&client, true, None).await?;
        let reissued = decide(&client, &letter, "reissue").await?;
        assert_eq!(
            (reissued.status, &reissued.body["resolution"]),
            (200, &"reissued".into()),
            "{reissued:?}"
        );
        let location = reissued.body["location"].as_str().context("no location")?.to_owned();
        assert_eq!(client.final_status(&location).await?["status"], "confirmed");
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);

        let again = decide(&client, &letter, "reissue").await?;
        assert_eq!((again.status, again.code()), (409, "already-decided"));
        assert!(
            again.body["detail"].as_str().is_some_and(|text| text.ends_with("is confirmed.")),
            "{again:?}"
        );
        assert_eq!(decide(&client, &letter, "discard").await?.code(), "already-decided");
        let decided = get(&client, &letter).await?.body;
        assert_eq!(
            (&decided["resolvedBy"], &decided["reissueReason"]),
            (&"admin".into(), &"The customer has called.".into())
        );
        assert_eq!(get(&client, "/ops/dead-letters").await?.body["deadLetters"], json!([]));
        let id = letter.rsplit('/').next().unwrap_or_default();
        let line =
            format!("administrator admin: dead letter {id} is reissued, because: The customer has called.");
        deployment.apis[0].process.line_after(&line).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page_and_discarded_with_a_reason() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let client = deployment.client().clone();
        deployment.start_worker(&[]).await?;
        for number in 0..52 {
            deployment.publish(format!("no parcel {number}").as_bytes()).await?;
        }
        deployment.drained().await?;
        let first = get(&client, "/ops/dead-letters").await?.body;
        let ids = |page: &Value| -> Vec<i64> {
            let letters = page["deadLetters"].as_array().cloned().unwrap_or_default();
            letters.iter().filter_map(|letter| letter["id"].as_i64()).collect()
        };
        assert_eq!((ids(&first).len(), ids(&first).is_sorted_by(|a, b| a > b)), (50, true), "{first}");
        let rest = get(&client, &format!("/ops/dead-letters?after={}", first["next"])).await?.body;
        assert_eq!((ids(&rest).len(), &rest["next"]), (2, &Value::Null), "{rest}");

        let letter = format!("/ops/dead-letters/{}", ids(&first)[0]);
        let unreadable = decide(&client, &letter, "reissue").await?;
        assert_eq!((unreadable.status, unreadable.code()), (409, "already-decided"), "{unreadable:?}");
        for body in [json!({}), json!({"reason": " "}), json!({"reason": "x", "because": "y"})] {
            let refused = client.write(Method::POST, &format!("{letter}/discard"), &body).await?;
            assert_eq!((refused.status, refused.code()), (422, "invalid-request"), "{body}");
        }
        assert_eq!(decide(&client, &letter, "discard").await?.body["resolution"], "discarded");
        assert_eq!(decide(&client, &letter, "discard").await?.code(), "already-decided");
        let discarded = get(&client, &letter).await?.body;
        assert_eq!(
            (&discarded["resolvedBy"], &discarded["discardReason"]),
            (&"admin".into(), &"The customer has called.".into())
        );
        for unknown in ["/ops/dead-letters/999999", "/ops/dead-letters/x"] {
            assert_eq!(get(&client, unknown).await?.code(), "not-found");
            for decision in ["reissue", "discard"] {
                assert_eq!(decide(&client, unknown, decision).await?.status, 404);
            }
        }
        assert_eq!(client.get("/ops/dead-letters").await?.status, 401);
        assert_eq!(client.get(&letter).await?.status, 401);
        assert_eq!(client.post(&format!("{letter}/discard"), &json!({"reason": "x"})).await?.status, 401);
        Ok(())
    })
    .await
}
