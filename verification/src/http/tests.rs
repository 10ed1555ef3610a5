//! The client against a server on its own port.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use axum::routing::{any, get};
use bytes::Bytes;
use futures_util::future::join;
use futures_util::{StreamExt, stream};
use hyper::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Client, RequestError};

/// Longer than any response takes.
const TIMEOUT: Duration = Duration::from_secs(30);
const SHORT_TIMEOUT: Duration = Duration::from_millis(50);

/// Starts a server. Returns its URL.
async fn start_server() -> Result<String> {
    let events = "data: 1\n\n";
    let endless = async move || {
        let first = stream::iter([Ok::<_, Infallible>(events)]);
        Body::from_stream(first.chain(stream::pending()))
    };
    let router = Router::new()
        .route("/echo", any(echo))
        .route("/peer", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.to_string()))
        .route("/last", get(async || [("connection", "close")]))
        .route("/moved", get(async || [("location", "/peer"), ("retry-after", "7")]))
        .route("/silent", get(async || std::future::pending::<()>().await))
        .route("/events", get(async move || events))
        .route("/garbled", get(async || b"data: \xff\n\n".as_slice()))
        .route("/endless", get(endless));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    Ok(url)
}

/// Describes the request.
async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers: BTreeMap<_, _> =
        headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect();
    json!({"method": method.as_str(), "uri": uri.to_string(), "headers": headers, "body": text(&body)})
        .to_string()
}

/// The client's address of the connection that carries this request.
async fn peer(client: &Client) -> Result<String> {
    Ok(String::from_utf8(client.get("/peer").await?.body.into())?)
}

#[tokio::test]
async fn only_a_plain_http_url_without_a_path_is_accepted() {
    let client = |url| Client::new(url, 1, TIMEOUT);
    assert!(client("http://127.0.0.1:3000/").is_ok());
    for invalid in ["https://example.com", "127.0.0.1:3000", "http://127.0.0.1/api", "nonsense", ""] {
        assert!(client(invalid).is_err(), "{invalid}");
    }
}

#[tokio::test]
async fn a_request_carries_its_path_headers_and_body() -> Result<()> {
    let client = Client::new(&start_server().await?, 1, TIMEOUT)?;
    let host = client.address();
    let json_type = "application/json";
    for (request, expected) in [
        (
            client.request(Method::GET, "/echo?page=2"),
            json!({"method": "GET", "uri": "/echo?page=2", "headers": {"host": host}, "body": ""}),
        ),
        (
            client
                .request(Method::DELETE, "/echo")
                .bearer_auth("secret")
                .header("X-Request-Id", "7".to_owned()),
            json!({
                "method": "DELETE", "uri": "/echo", "body": "",
                "headers": {"host": host, "authorization": "Bearer secret", "x-request-id": "7"},
            }),
        ),
        (
            client.request(Method::POST, "/echo").json(&json!({"seat": 1})),
            json!({
                "method": "POST", "uri": "/echo", "body": "{\"seat\":1}",
                "headers": {"host": host, "content-type": json_type, "content-length": "10"},
            }),
        ),
        (
            client.request(Method::PUT, "/echo").body("{}"),
            json!({
                "method": "PUT", "uri": "/echo", "body": "{}",
                "headers": {"host": host, "content-length": "2"},
            }),
        ),
    ] {
        assert_eq!(request.send().await?.json::<Value>()?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_returned_with_its_headers() -> Result<()> {
    let client = Client::new(&start_server().await?, 1, TIMEOUT)?;
    let moved = client.get("/moved").await?;
    assert_eq!((moved.location(), moved.retry_after()), (Some("/peer"), Some(Duration::from_secs(7))));
    assert_eq!((moved.header("retry-after"), moved.header("etag")), (Some("7"), None));
    Ok(())
}

#[tokio::test]
async fn a_connection_is_reused_after_a_complete_response() -> Result<()> {
    let client = Client::new(&start_server().await?, 2, TIMEOUT)?;
    client.warm(1).await?;
    let first = peer(&client).await?;
    assert_eq!(peer(&client).await?, first);

    let mut events = client.events("/events").await?;
    assert_eq!(events.next().await?.context("no event")?.data, "1");
    assert_eq!(events.next().await?, None);
    assert_eq!(peer(&client).await?, first);
    Ok(())
}

#[tokio::test]
async fn a_connection_with_an_unfinished_stream_is_not_reused() -> Result<()> {
    let client = Client::new(&start_server().await?, 2, TIMEOUT)?;
    let first = peer(&client).await?;
    let mut events = client.events("/endless").await?;
    assert_eq!(events.next().await?.context("no event")?.data, "1");
    drop(events);
    assert_ne!(peer(&client).await?, first);
    Ok(())
}

#[tokio::test]
async fn a_connection_with_an_invalid_stream_is_not_reused() -> Result<()> {
    let client = Client::new(&start_server().await?, 1, TIMEOUT)?;
    let first = peer(&client).await?;
    let mut events = client.events("/garbled").await?;
    assert!(matches!(events.next().await, Err(RequestError::InvalidEvents(_))));
    assert_eq!(events.next().await?, None);
    assert_ne!(peer(&client).await?, first);
    Ok(())
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() -> Result<()> {
    let client = Client::new(&start_server().await?, 1, TIMEOUT)?;
    let first = peer(&client).await?;
    client.get("/last").await?;
    assert_ne!(peer(&client).await?, first);
    Ok(())
}

#[tokio::test]
async fn a_request_waits_while_all_connections_are_in_use() -> Result<()> {
    let client = Client::new(&start_server().await?, 1, TIMEOUT)?;
    let events = client.events("/endless").await?;
    assert_eq!(client.waited(), 0);
    let end_stream = async {
        assert_eq!(client.waited(), 1);
        drop(events);
    };
    let (response, ()) = join(client.get("/peer"), end_stream).await;
    assert_eq!(response?.status, 200);
    Ok(())
}

#[tokio::test]
async fn a_failed_request_is_counted_by_its_cause() -> Result<()> {
    let url = start_server().await?;
    let closing = TcpListener::bind("127.0.0.1:0").await?;
    let closing_url = format!("http://{}", closing.local_addr()?);
    tokio::spawn(async move { while closing.accept().await.is_ok() {} });
    let unused = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    for (url, path, kind) in [
        (url.as_str(), "/silent", "no-response"),
        (&url, "/not a path", "invalid-request"),
        (&closing_url, "/", "broken-connection"),
        (&format!("http://{unused}"), "/", "unreachable"),
    ] {
        let client = Client::new(url, 1, if kind == "no-response" { SHORT_TIMEOUT } else { TIMEOUT })?;
        let failed = client.get(path).await.err().with_context(|| format!("{kind}: a response"))?;
        assert_eq!(failed.kind(), kind);
        assert_eq!(client.events(path).await.err().map(|error| error.kind()), Some(kind));
    }
    Ok(())
}
