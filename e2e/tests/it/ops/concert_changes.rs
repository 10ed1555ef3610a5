//! Changes of the controls of concerts: conflicts, the log of changes, and what is refused.

use anyhow::{Context, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    change, concert_change, concert_path as path, get, revision, set_concert_controls, set_controls,
};

const UNKNOWN: &str = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11";

#[tokio::test]
async fn of_changes_of_the_intake_and_of_concerts_at_once_one_is_made() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 0, ..Setup::default() }, async |deployment| {
        let clients = [0, 1].map(|number| deployment.apis[number].client.clone());
        let concerts = try_join_all([0, 1].map(async |number| clients[0].seat_map(number).await)).await?;
        for round in 0..5_i64 {
            let changes = (0..12_usize).map(async |number| {
                let client = &clients[number % 2];
                let limit = u32::try_from(number + 1).ok();
                match number % 3 {
                    2 => client.write(Method::PUT, "/ops/controls", &change(round, false, limit)).await,
                    concert => {
                        let body = concert_change(round, number < 6, limit);
                        client.write(Method::PUT, &path(&concerts[concert].0), &body).await
                    }
                }
            });
            let answers = join_all(changes).await.into_iter().collect::<Result<Vec<_>>>()?;
            let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
            assert_eq!(made.len(), 1, "{answers:?}");
            for answer in refused {
                assert_eq!((answer.status, answer.code()), (412, "precondition-failed"), "{answer:?}");
                assert_eq!(answer.body["controls"], made[0].body);
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_change_of_the_intake_keeps_the_controls_of_concerts_and_each_change_is_recorded() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let mut ids = [client.seat_map(0).await?.0, client.seat_map(1).await?.0];
        ids.sort_unstable();
        let [first, second] = &ids;
        let paused = json!({"concertId": first, "paused": true, "acceptPerSecond": null});
        let limited = json!({"concertId": second, "paused": false, "acceptPerSecond": 5});
        set_concert_controls(&client, second, false, Some(5)).await?;
        let both = set_concert_controls(&client, first, true, None).await?;
        assert_eq!((&both["concerts"], &both["revision"]), (&json!([paused, limited]), &2.into()));
        let kept = set_controls(&client, true, Some(70)).await?;
        assert_eq!((&kept["concerts"], &kept["intakePaused"]), (&json!([paused, limited]), &true.into()));
        let removed = set_concert_controls(&client, second, false, None).await?;
        assert_eq!((&removed["concerts"], &removed["acceptPerSecond"]), (&json!([paused]), &70.into()));
        assert_eq!(get(&client, "/ops/controls").await?.body, removed);

        let changes = get(&client, "/ops/controls/changes").await?.body;
        let changes = changes["changes"].as_array().context("no changes")?;
        let concerts: Vec<[&Value; 2]> =
            changes.iter().map(|change| [&change["before"]["concerts"], &change["concerts"]]).collect();
        let [none, one, two, last] = [json!([]), json!([limited]), json!([paused, limited]), json!([paused])];
        assert_eq!(concerts, [[&two, &last], [&two, &two], [&one, &two], [&none, &one]]);
        let line = format!(
            "administrator admin: concert {first} is paused without a limit (revision 2), because: a test"
        );
        deployment.apis[0].process.line_after(&line).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn controls_can_be_removed_of_a_concert_that_was_deleted_and_set_only_of_one_that_is_shown()
-> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, _) = client.seat_map(0).await?;
        let (hidden, _) = client.seat_map(1).await?;
        set_concert_controls(&client, &concert, true, None).await?;
        let deleted = client.write(Method::DELETE, &format!("/concerts/{concert}"), &Value::Null).await?;
        ensure!(deleted.status == 204, "{deleted:?}");
        sqlx::query("UPDATE concerts SET hidden = true WHERE id = $1::uuid")
            .bind(&hidden)
            .execute(&deployment.pool)
            .await?;
        for (concert, is_paused) in [(&*concert, true), (&hidden, true), (UNKNOWN, true), (UNKNOWN, false)] {
            let refused =
                client.write(Method::PUT, &path(concert), &concert_change(1, is_paused, None)).await?;
            assert_eq!((refused.status, refused.code()), (404, "not-found"), "{refused:?}");
        }
        assert_eq!(set_concert_controls(&client, &concert, false, None).await?["concerts"], json!([]));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_invalid_change_of_a_concert_is_refused_with_every_wrong_field_and_changes_nothing() -> Result<()>
{
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, _) = client.seat_map(0).await?;
        for (body, fields) in [
            (json!({}), &["paused", "acceptPerSecond", "reason", "revision"][..]),
            (json!({"paused": true, "reason": "x", "revision": 0}), &["acceptPerSecond"]),
            (json!({"paused": true, "acceptPerSecond": 0, "reason": "x", "revision": 0}), &["acceptPerSecond"]),
            (json!({"paused": 1, "acceptPerSecond": 1_000_001, "reason": " ", "revision": -1}), &["paused"]),
            (json!({"paused": true, "acceptPerSecond": 1_000_001, "reason": " ", "revision": -1}),
                &["acceptPerSecond", "reason", "revision"]),
            (json!({"paused": true, "acceptPerSecond": null, "reason": "x", "revision": 0, "intakePaused": true}),
                &["intakePaused"]),
        ] {
            let refused = client.write(Method::PUT, &path(&concert), &body).await?;
            assert_eq!((refused.status, refused.code()), (422, "invalid-request"), "{body}: {refused:?}");
            let errors = refused.body["errors"].as_array().cloned().unwrap_or_default();
            let named: Vec<&str> = errors.iter().filter_map(|error| error["field"].as_str()).collect();
            assert!(fields.iter().all(|field| named.contains(field)), "{body}: {refused:?}");
        }
        let odd = client.write(Method::PUT, &path("7"), &concert_change(0, true, None)).await?;
        assert_eq!((odd.status, odd.code()), (422, "invalid-request"), "{odd:?}");
        let anonymous = client.request(Method::PUT, &path(&concert)).json(&concert_change(0, true, None));
        let anonymous = Client::send(anonymous).await?;
        assert_eq!((anonymous.status, anonymous.code()), (401, "unauthorized"), "{anonymous:?}");
        assert_eq!(revision(&client).await?, 0);
        Ok(())
    })
    .await
}
