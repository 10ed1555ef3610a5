//! Bookings whose confirm from the broker is lost.

use anyhow::Result;
use hamro_e2e::{Deployment, Setup, tables, wait_until};

use super::idempotency::book_under_key;

#[tokio::test]
async fn a_booking_whose_confirm_is_lost_can_be_followed() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let (proxy, url) = deployment.broker_behind_proxy().await?;
        deployment.expects_errors = true;
        let number = deployment.start_api(&[("AMQP_URL", &url), ("CONFIRM_TIMEOUT", "1s")]).await?;
        let client = deployment.apis[number].client.clone();

        proxy.drop_responses();
        let unknown = book_under_key(&client, "key-1", &seats[..1]).await?;
        assert_eq!((unknown.status, unknown.code()), (503, "broker-unavailable"), "{unknown:?}");
        assert_eq!(
            unknown.body["ticketId"].as_str().map(|id| format!("/ticket-bookings/{id}")).as_deref(),
            Some(unknown.location()?)
        );
        assert!(unknown.header("retry-after").is_some());
        assert_eq!(client.final_status(unknown.location()?).await?["status"], "confirmed");

        // The api drops the connection. Until it has a new one, bookings are refused at once.
        wait_until("the api has dropped the connection", async || {
            Ok((client.get("/queue").await?.body["accepting"] == false).then_some(()))
        })
        .await?;
        let refused = book_under_key(&client, "key-1", &seats[..1]).await?;
        assert_eq!((refused.status, &refused.body["ticketId"]), (503, &serde_json::Value::Null));
        proxy.cut();
        client.wait_until_ready().await?;
        let again = book_under_key(&client, "key-1", &seats[..1]).await?;
        assert_eq!(client.final_status(again.location()?).await?["status"], "confirmed");
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_waiting_endpoint_reports_the_outcome_of_a_booking_whose_confirm_is_lost() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let (proxy, url) = deployment.broker_behind_proxy().await?;
        deployment.expects_errors = true;
        let number = deployment.start_api(&[("AMQP_URL", &url), ("CONFIRM_TIMEOUT", "1s")]).await?;
        proxy.drop_responses();
        let booked = deployment.apis[number].client.book_seats("alice", &seats[..1]).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        proxy.cut();
        Ok(())
    })
    .await
}
