//! Messages that are delivered twice, or that a worker cannot read.

use anyhow::Result;
use hamro_e2e::deployment::envelope;
use hamro_e2e::{Deployment, Setup, tables, wait_until};
use hamro_shared::queue::Parcel;

#[tokio::test]
async fn a_redelivered_message_changes_nothing() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let envelope = envelope("alice", &seats[..2])?;
        let location = format!("/ticket-bookings/{}", envelope.ticket.id);
        let mut parcel = Parcel::default();
        parcel.push(&envelope.clone().encode());
        parcel.push(&envelope.encode());
        let parcel = parcel.encode();

        for _ in 0..5 {
            deployment.publish(&parcel).await?;
        }
        let status = client.final_status(&location).await?;
        assert_eq!(status["status"], "confirmed");
        deployment.publish(&parcel).await?;
        deployment.drained().await?;

        assert_eq!(client.final_status(&location).await?, status);
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 1);
        // The other row is the marker of `drained`.
        assert_eq!(tables::count(&deployment.pool, "bookings").await?, 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn unreadable_messages_become_dead_letters_and_affect_no_other_booking() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        deployment.expects_errors = true;
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let good = envelope("alice", &seats[..1])?;
        let bad = envelope("bob", &seats[1..2])?;
        let (good_location, bad_location) =
            (format!("/ticket-bookings/{}", good.ticket.id), format!("/ticket-bookings/{}", bad.ticket.id));
        let unreadable = String::from_utf8(bad.encode())?.replace("bob@example.com", "nobody");
        let mut parcel = Parcel::default();
        parcel.push(unreadable.as_bytes());
        parcel.push(&good.encode());

        deployment.publish(b"no parcel").await?;
        deployment.publish(&parcel.encode()).await?;

        assert_eq!(client.final_status(&good_location).await?["status"], "confirmed");
        let failed = client.final_status(&bad_location).await?;
        assert_eq!(failed["status"], "failed");
        assert_eq!(failed["problem"]["code"], "internal");
        let kept = wait_until("both dead letters are stored", async || {
            let letters: Vec<(String, Vec<u8>)> =
                sqlx::query_as("SELECT reason, payload FROM dead_letters ORDER BY reason")
                    .fetch_all(&deployment.pool)
                    .await?;
            Ok((letters.len() == 2).then_some(letters))
        })
        .await?;
        assert_eq!(kept[0], ("unreadable-envelope".to_owned(), unreadable.into_bytes()));
        assert_eq!(kept[1], ("unreadable-parcel".to_owned(), b"no parcel".to_vec()));
        Ok(())
    })
    .await
}
