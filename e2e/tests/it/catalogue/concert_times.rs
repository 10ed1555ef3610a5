//! Dates, times and time zones of concerts: past concerts, and the order of the list.

use anyhow::{Context, Result};
use hamro_e2e::client::{ApiResponse, Client};
use hamro_e2e::{Deployment, Setup};
use hamro_shared::domain::{Clock, Timestamp};
use hyper::Method;
use serde_json::{Value, json};

use super::concert;

fn setup() -> Setup {
    Setup { variables: vec![("SEED_ON_START", "false")], ..Setup::default() }
}

/// The date and time in UTC after this number of hours, in the formats of the api.
fn after_hours(hours: i64) -> (String, String) {
    let now = Clock::system().now().unix_millis();
    let moment = Timestamp::from_unix_millis(now + hours * 3_600_000).expect("is a date").datetime();
    (moment.format("%Y-%m-%d").to_string(), moment.format("%H:%M:%S").to_string())
}

/// A concert in UTC that begins after this number of hours.
fn concert_after_hours(hours: i64) -> Value {
    let mut body = concert();
    let (date, time) = after_hours(hours);
    body["title"] = json!(format!("after {hours} hours"));
    body["date"] = json!(date);
    body["time"] = json!(time);
    body["timeZone"] = json!("UTC");
    body
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

async fn post(client: &Client, body: &Value) -> Result<ApiResponse> {
    client.write(Method::POST, "/concerts", body).await
}

/// Asserts that the request was refused because of this field.
#[track_caller]
fn assert_refused(response: &ApiResponse, field: &str, detail: &str) {
    assert_eq!((response.status, response.code()), (422, "invalid-request"), "{response:?}");
    assert_eq!(response.body["errors"], json!([{"field": field, "detail": detail}]));
}

const IS_PAST: &str = "is in the past. Send \"allowPastDate\": true if it is meant to be";

#[tokio::test]
async fn a_concert_shows_its_time_zone_and_an_unknown_name_is_refused() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..setup() }, async |deployment| {
        let client = deployment.client();
        let body = with(concert(), "timeZone", json!("Asia/Kathmandu"));
        let made = post(client, &body).await?;
        assert_eq!((made.status, &made.body["timeZone"]), (201, &json!("Asia/Kathmandu")), "{made:?}");
        let path = made.location()?;
        assert_eq!(client.get(path).await?.body, made.body);
        for unknown in ["Asia/Atlantis", "asia/kathmandu", "EST5EDT", "NPT", "UTC+5:45", ""] {
            let refused = post(client, &with(concert(), "timeZone", json!(unknown))).await?;
            assert_refused(&refused, "timeZone", "must be the name of a time zone, such as Asia/Kathmandu");
        }
        // Like every optional field: a PUT that leaves it out keeps it, and null clears it.
        let put = async |body: Value| {
            client.write(Method::PUT, "/concerts", &with(body, "id", made.body["id"].clone())).await
        };
        assert_eq!(put(concert()).await?.body["timeZone"], "Asia/Kathmandu");
        let cleared = put(with(concert(), "timeZone", Value::Null)).await?;
        assert_eq!((cleared.status, cleared.body.get("timeZone")), (200, None));
        assert_eq!(client.get(path).await?.body.get("timeZone"), None);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_new_concert_in_the_past_must_be_intended() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..setup() }, async |deployment| {
        let client = deployment.client();
        for past in [
            concert_after_hours(-1),
            with(concert_after_hours(-1), "test", json!(true)),
            // Over everywhere, whatever the time zone is.
            with(concert_after_hours(-72), "timeZone", Value::Null),
        ] {
            assert_refused(&post(client, &past).await?, "date", IS_PAST);
            assert_refused(
                &post(client, &with(past.clone(), "allowPastDate", json!(false))).await?,
                "date",
                IS_PAST,
            );
            let made = post(client, &with(past, "allowPastDate", json!(true))).await?;
            assert_eq!((made.status, made.body.get("allowPastDate")), (201, None), "{made:?}");
        }
        for future in [
            concert_after_hours(1),
            // Not yet over everywhere.
            with(concert_after_hours(-1), "timeZone", Value::Null),
        ] {
            assert_eq!(post(client, &future).await?.status, 201);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_concert_is_moved_into_the_past_only_on_purpose_and_a_past_one_can_be_changed() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..setup() }, async |deployment| {
        let client = deployment.client();
        let made = post(client, &concert_after_hours(100)).await?;
        let put = async |body: Value| {
            client.write(Method::PUT, "/concerts", &with(body, "id", made.body["id"].clone())).await
        };
        let past = concert_after_hours(-100);
        assert_refused(&put(past.clone()).await?, "date", IS_PAST);
        assert_eq!(put(with(past.clone(), "allowPastDate", json!(true))).await?.status, 200);
        // It stays past, so nothing has to be confirmed.
        let renamed = put(with(past.clone(), "title", json!("Folk Morning"))).await?;
        assert_eq!((renamed.status, &renamed.body["title"]), (200, &json!("Folk Morning")));
        assert_eq!(put(with(past.clone(), "time", json!("00:30"))).await?.status, 200);
        assert_eq!(put(with(past, "timeZone", json!("Asia/Kathmandu"))).await?.status, 200);
        assert_refused(&put(concert_after_hours(-200)).await?, "date", IS_PAST);
        assert_eq!(put(concert_after_hours(100)).await?.status, 200);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn concerts_to_come_are_listed_first_and_then_the_most_recent_ones() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..setup() }, async |deployment| {
        let client = deployment.client();
        for hours in [300, -100, 2, -300, 40] {
            let body = with(concert_after_hours(hours), "allowPastDate", json!(true));
            assert_eq!(post(client, &body).await?.status, 201);
        }
        // The same local time is earlier in the east.
        let (date, time) = after_hours(500);
        for zone in ["UTC", "Etc/GMT-14"] {
            let mut body = with(concert_after_hours(500), "timeZone", json!(zone));
            body["title"] = json!(format!("{zone} {date}"));
            body["time"] = json!(time);
            assert_eq!(post(client, &body).await?.status, 201);
        }
        let expected = [
            "after 2 hours".to_owned(),
            "after 40 hours".to_owned(),
            "after 300 hours".to_owned(),
            format!("Etc/GMT-14 {date}"),
            format!("UTC {date}"),
            "after -100 hours".to_owned(),
            "after -300 hours".to_owned(),
        ];
        let titles = async |path: &str| -> Result<Vec<String>> {
            let page = client.get(path).await?.body;
            let concerts = page["data"].as_array().context("no data")?;
            Ok(concerts.iter().filter_map(|concert| concert["title"].as_str()).map(str::to_owned).collect())
        };
        assert_eq!(titles("/concerts").await?, expected);
        let mut paged = Vec::new();
        for page in 1..=4 {
            paged.extend(titles(&format!("/concerts?limit=2&page={page}")).await?);
        }
        assert_eq!(paged, expected);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn seats_of_a_past_concert_cannot_be_booked() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let (id, map) = client.seat_map(0).await?;
        let seat = map["seats"][0]["id"].as_i64().context("no seat")?;
        let mut past = with(concert_after_hours(-1), "id", json!(id));
        past["allowPastDate"] = json!(true);
        assert_eq!(client.write(Method::PUT, "/concerts", &past).await?.status, 200);
        let refused = client.book_seats("alice", &[seat]).await?;
        assert_eq!((refused.status, refused.code()), (409, "sale-closed"), "{refused:?}");
        let began = format!(
            "{}T{}.000Z",
            past["date"].as_str().unwrap_or_default(),
            past["time"].as_str().unwrap_or_default()
        );
        assert_eq!(refused.body["closedAt"], json!(began));
        Ok(())
    })
    .await
}
