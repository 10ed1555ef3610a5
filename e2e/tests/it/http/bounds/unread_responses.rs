//! Clients that do not read their responses.

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use h2::client::{ResponseFuture, SendRequest};
use hamro_e2e::{Client, Deployment, Setup, wait_until};
use hyper::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ATTACKER, HONEST, LIMIT, connect, get, large_seat_map};

/// Sends a request and reads only the beginning of the response.
async fn leave_unread(client: &Client, path: &str) -> Result<TcpStream> {
    let mut connection = connect(client, ATTACKER).await?;
    connection.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await?;
    let mut beginning = [0; 15];
    timeout(LIMIT, connection.read_exact(&mut beginning)).await??;
    ensure!(beginning == *b"HTTP/1.1 200 OK", "{}", String::from_utf8_lossy(&beginning));
    Ok(connection)
}

#[tokio::test]
async fn an_unread_response_is_freed_after_the_write_timeout() -> Result<()> {
    // One response of any size, but not a second.
    let variables = vec![("WRITE_TIMEOUT", "5s"), ("RESPONSE_BYTES_MAX", "100000"), ("CLIENT_SHARE", "100")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let path = large_seat_map(client).await?;
        let mut unread = leave_unread(client, &path).await?;
        let refused = get(client, HONEST, &path).await?;
        assert!(refused.is_refusal(503, "overloaded"), "{refused:?}");
        // What needs little memory is served.
        assert_eq!(get(client, HONEST, "/concerts").await?.status, 200);
        wait_until("the unread response is freed", async || {
            let response = get(client, HONEST, &path).await?;
            Ok((response.status == 200).then_some(()))
        })
        .await?;
        let mut rest = Vec::new();
        let _ = timeout(LIMIT, unread.read_to_end(&mut rest)).await.context("the connection is open")?;
        assert!(rest.len() < 10_000_000, "the client has received all {} bytes", rest.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_with_unread_responses_is_refused_more_and_others_are_served() -> Result<()> {
    let variables = vec![("RESPONSE_BYTES_MAX", "1000000"), ("CLIENT_SHARE", "10")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let path = large_seat_map(client).await?;
        let _unread = leave_unread(client, &path).await?;
        let refused = get(client, ATTACKER, &path).await?;
        assert!(refused.is_refusal(429, "client-limit-reached"), "{refused:?}");
        let served = get(client, HONEST, &path).await?;
        assert_eq!((served.status, served.text.len() > 10_000_000), (200, true));
        Ok(())
    })
    .await
}

/// Opens an HTTP/2 connection that answers pings, and never gives back what a stream's window has taken.
async fn connect_http2(client: &Client) -> Result<SendRequest<hyper::body::Bytes>> {
    let (sender, connection) = h2::client::handshake(connect(client, ATTACKER).await?).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Reads a response until it ends, and returns whether it was reset.
async fn is_reset(response: ResponseFuture) -> Result<bool> {
    let mut body = response.await?.into_body();
    let reading = async {
        loop {
            match body.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => return error.reason() == Some(h2::Reason::CANCEL),
                None => return false,
            }
        }
    };
    timeout(LIMIT, reading).await.context("the stream stays open")
}

#[tokio::test]
async fn an_unread_http2_stream_is_reset_and_its_connection_stays() -> Result<()> {
    let variables = vec![("WRITE_TIMEOUT", "2s"), ("CLIENT_SHARE", "100")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let path = large_seat_map(client).await?;
        let sender = connect_http2(client).await?.ready().await?;
        let send = async |path: &str| {
            let request = Request::get(client.url(path)).body(())?;
            anyhow::Ok(sender.clone().ready().await?.send_request(request, true)?.0)
        };
        let unread = [send(&path).await?, send(&path).await?, send(&path).await?];
        for is_reset in join_all(unread.map(is_reset)).await {
            assert!(is_reset?, "a response was read to its end");
        }
        assert_eq!(send("/health/live").await?.await?.status(), 200);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_http2_connection_has_a_limited_number_of_streams() -> Result<()> {
    let variables = vec![("HTTP2_STREAMS_MAX", "7")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let mut sender = connect_http2(deployment.client()).await?.ready().await?;
        // The server's settings have arrived with its first response.
        let request = Request::get(deployment.client().url("/health/live")).body(())?;
        sender.send_request(request, true)?.0.await?;
        assert_eq!(sender.current_max_send_streams(), 7);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_idle_http2_connection_receives_goaway() -> Result<()> {
    let variables = vec![("HEAD_TIMEOUT", "1s")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let (sender, connection) = h2::client::handshake(connect(client, ATTACKER).await?).await?;
        let ended = tokio::spawn(connection);
        let mut sender: SendRequest<hyper::body::Bytes> = sender.ready().await?;
        let request = Request::get(client.url("/health/live")).body(())?;
        assert_eq!(sender.send_request(request, true)?.0.await?.status(), 200);
        // Without an error: the server has announced the end.
        timeout(LIMIT, ended).await.context("the connection stays open")???;
        Ok(())
    })
    .await
}
