//! Clients that open as many event streams as they can, and keep them.

use anyhow::{Context, Result};
use hamro_e2e::{Deployment, Setup, wait_until};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::{ATTACKER, HONEST, LIMIT, open_stream};

#[tokio::test]
async fn a_client_with_its_share_of_streams_is_refused_more_and_others_are_served() -> Result<()> {
    for mode in ["detached", "hyper"] {
        // Two streams per client.
        let variables = vec![("STREAMS_MAX", "20"), ("CLIENT_SHARE", "10"), ("EVENT_STREAMS", mode)];
        Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
            let client = deployment.client();
            let path = format!("/seats/concert/{}/events", client.seat_map(0).await?.0);
            let open = [
                open_stream(client, ATTACKER, &path).await?.ok().context("refused")?,
                open_stream(client, ATTACKER, &path).await?.ok().context("refused")?,
            ];
            let refused = open_stream(client, ATTACKER, &path).await?.err().context("not refused")?;
            assert!(refused.is_refusal(429, "client-limit-reached"), "{refused:?}");
            assert!(open_stream(client, HONEST, &path).await?.is_ok());
            drop(open);
            wait_until("the client may open a stream again", async || {
                Ok(open_stream(client, ATTACKER, &path).await?.ok())
            })
            .await?;
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_at_its_maximum_age_and_its_client_reconnects() -> Result<()> {
    for mode in ["detached", "hyper"] {
        let variables = vec![("STREAM_MAX_AGE", "1s"), ("EVENT_STREAMS", mode)];
        Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
            let client = deployment.client();
            let path = format!("/seats/concert/{}/events", client.seat_map(0).await?.0);
            for _ in 0..2 {
                let mut stream = open_stream(client, HONEST, &path).await?.ok().context("refused")?;
                // With the last chunk the response is complete.
                let mut rest = Vec::new();
                let reading = async {
                    while !rest.ends_with(b"0\r\n\r\n") && stream.read_buf(&mut rest).await? > 0 {}
                    anyhow::Ok(())
                };
                timeout(LIMIT, reading).await.context("the stream stays open")??;
                assert!(rest.ends_with(b"0\r\n\r\n"), "{}", String::from_utf8_lossy(&rest));
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}
