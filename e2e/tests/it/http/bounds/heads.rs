//! Heads of requests that are larger than any that a client needs.

use anyhow::Result;
use hamro_e2e::{Deployment, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{ATTACKER, HONEST, LIMIT, ask, connect};

#[tokio::test]
async fn a_head_above_16_kilobytes_is_refused() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let head = |padding: usize| {
            let padding = "a".repeat(padding);
            format!("GET /concerts HTTP/1.1\r\nHost: x\r\nX-Padding: {padding}\r\nConnection: close\r\n\r\n")
        };
        assert_eq!(ask(client, HONEST, &head(12_000)).await?.status, 200);
        // Unfinished, so that the server has read all of it when it responds.
        let mut connection = connect(client, ATTACKER).await?;
        let large = head(20_000);
        connection.write_all(&large.as_bytes()[..16 * 1024]).await?;
        let mut response = [0; 12];
        timeout(LIMIT, connection.read_exact(&mut response)).await??;
        assert_eq!(&response, b"HTTP/1.1 431");
        Ok(())
    })
    .await
}
