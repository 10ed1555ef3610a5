//! The outcomes of bookings whose concert or seats are deleted while they wait.

use anyhow::{Context, Result};
use hamro_e2e::client::{Client, booking};
use hamro_e2e::{Deployment, Setup};
use hyper::Method;
use serde_json::{Value, json};

/// Books the seats of this concert, and returns the path of the ticket.
async fn book(client: &Client, concert: Option<&str>, seats: &[i64]) -> Result<String> {
    let mut body = booking("alice", seats);
    if let Some(concert) = concert {
        body["concertId"] = json!(concert);
    }
    Ok(client.post("/ticket-bookings", &body).await?.location()?.to_owned())
}

#[tokio::test]
async fn a_booking_whose_concert_was_deleted_is_told_that_the_concert_no_longer_exists() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (gone, map) = client.seat_map(0).await?;
        let seat = map["seats"][0]["id"].as_i64().context("no seat")?;
        let elsewhere = client.seat_ids(1).await?[0];
        let named = book(&client, Some(&gone), &[seat]).await?;
        let with_another = book(&client, Some(&gone), &[seat, elsewhere]).await?;
        let unnamed = book(&client, None, &[seat]).await?;
        let deleted = client.write(Method::DELETE, &format!("/concerts/{gone}"), &Value::Null).await?;
        assert_eq!(deleted.status, 204);
        deployment.start_worker(&[]).await?;

        for (ticket, seats) in [(named, json!([seat])), (with_another, json!([seat, elsewhere]))] {
            let problem = client.final_status(&ticket).await?["problem"].take();
            assert_eq!((&problem["code"], &problem["status"]), (&json!("seats-not-found"), &json!(404)));
            assert_eq!(problem["detail"], "This concert no longer exists. Choose another one.");
            assert_eq!((&problem["missingConcertId"], &problem["seatIds"]), (&json!(gone), &seats));
        }
        let problem = client.final_status(&unnamed).await?["problem"].take();
        let expected = format!("Seat {seat} does not exist or was removed. Choose other seats.");
        assert_eq!((&problem["code"], &problem["detail"]), (&json!("seats-not-found"), &json!(expected)));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_whose_seats_were_deleted_is_not_told_that_the_concert_is_gone() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, map) = client.seat_map(0).await?;
        let seat = map["seats"][0]["id"].as_i64().context("no seat")?;
        let elsewhere = client.seat_ids(1).await?[0];
        let ticket = book(&client, Some(&concert), &[seat, elsewhere]).await?;
        // All tiers, so that the concert has neither seats nor tiers.
        let tiers = client.get(&format!("/ticket-tiers?concertId={concert}")).await?.body;
        for tier in tiers["data"].as_array().context("no tiers")? {
            let path = format!("/ticket-tiers/{}", tier["id"]);
            assert_eq!(client.write(Method::DELETE, &path, &Value::Null).await?.status, 204);
        }
        deployment.start_worker(&[]).await?;
        let problem = client.final_status(&ticket).await?["problem"].take();
        let expected = format!(
            "Seat {seat} does not exist or was removed. Seat V-1 belongs to another concert. Choose other seats."
        );
        assert_eq!((&problem["code"], &problem["detail"]), (&json!("seats-not-found"), &json!(expected)));
        assert_eq!(problem.get("missingConcertId"), None);
        Ok(())
    })
    .await
}
