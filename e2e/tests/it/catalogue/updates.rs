//! Updates of concerts and tiers: what a `PUT` keeps, and what it changes.

use anyhow::{Context, Result};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::{Value, json};

use super::{concert, created};

const FIRST: &str = "2099-01-01T00:00:00.000Z";
const LAST: &str = "2099-01-02T00:00:00.000Z";

/// A concert with a value in every optional field.
async fn complete_concert(client: &Client) -> Result<Value> {
    let mut body = concert();
    body["description"] = json!("Songs.");
    body["salesOpenAt"] = json!(FIRST);
    body["salesCloseAt"] = json!(LAST);
    body["seatsPerCustomer"] = json!(4);
    created(client, "/concerts", &body).await
}

/// The fields that clients of the earlier system send.
fn earlier_body(id: &Value) -> Value {
    let mut body = concert();
    body["id"] = id.clone();
    body
}

#[tokio::test]
async fn a_put_keeps_the_optional_fields_that_it_leaves_out_and_null_clears_them() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let complete = complete_concert(client).await?;
        let path = format!("/concerts/{}", complete["id"].as_str().context("no id")?);
        let put = async |body: &Value| client.write(Method::PUT, "/concerts", body).await;

        let mut body = earlier_body(&complete["id"]);
        body["title"] = json!("Folk Morning");
        let updated = put(&body).await?;
        let mut expected = complete.clone();
        expected["title"] = json!("Folk Morning");
        assert_eq!((updated.status, &updated.body), (200, &expected));
        assert_eq!(client.get(&path).await?.body, expected);

        // Whether a cleared field is null or missing.
        for (field, cleared) in [
            ("description", true),
            ("salesOpenAt", false),
            ("salesCloseAt", false),
            ("seatsPerCustomer", false),
        ] {
            body[field] = Value::Null;
            let updated = put(&body).await?;
            if cleared {
                expected[field] = Value::Null;
            } else {
                expected.as_object_mut().context("no object")?.remove(field);
            }
            assert_eq!((updated.status, &updated.body), (200, &expected), "{field}");
            body.as_object_mut().context("no object")?.remove(field);
        }
        assert_eq!(client.get(&path).await?.body, expected);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_put_is_validated_together_with_the_fields_that_it_keeps() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let complete = complete_concert(client).await?;
        for (field, value, detail) in [
            ("salesOpenAt", LAST, format!("must be earlier than salesCloseAt, which is {LAST}")),
            ("salesCloseAt", FIRST, format!("must be later than salesOpenAt, which is {FIRST}")),
        ] {
            let mut body = earlier_body(&complete["id"]);
            body[field] = json!(value);
            let refused = client.write(Method::PUT, "/concerts", &body).await?;
            assert_eq!(
                (refused.status, &refused.body["errors"]),
                (422, &json!([{"field": field, "detail": detail}]))
            );
        }
        let mut body = earlier_body(&complete["id"]);
        body["salesOpenAt"] = json!(LAST);
        body["salesCloseAt"] = Value::Null;
        let moved = client.write(Method::PUT, "/concerts", &body).await?;
        assert_eq!((moved.status, &moved.body["salesOpenAt"]), (200, &json!(LAST)), "{moved:?}");
        Ok(())
    })
    .await
}
