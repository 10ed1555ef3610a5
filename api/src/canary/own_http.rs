//! A client of this instance's own HTTP server, over TCP like every other client.

use std::fmt::{self, Display};
use std::net::SocketAddr;

use anyhow::Context;
use axum::body::{Body, to_bytes};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Builder;
use axum::http::{Request, StatusCode};
use hamro_shared::healthcheck::reachable;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::spawn;

/// More than any response about one booking has.
const BODY_MAX: usize = 64 * 1024;

pub struct OwnHttp(SocketAddr);

pub struct Response {
    pub status: StatusCode,
    /// Null if it is no JSON.
    pub body: Value,
}

impl Response {
    /// The code of the problem, or an empty text.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

/// The status and the code, such as `503 queue-full`.
impl Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status.as_u16(), self.code())
    }
}

impl OwnHttp {
    /// `listening` is the address on which the instance listens. It may be that of all interfaces.
    pub fn new(listening: SocketAddr) -> Self {
        Self(reachable(listening))
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Response> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json");
        self.send(request, Body::from(body.to_string())).await
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Response> {
        self.send(Request::get(path), Body::empty()).await
    }

    /// Opens a connection for each request, which ends with the response or when this is cancelled.
    async fn send(&self, request: Builder, body: Body) -> anyhow::Result<Response> {
        let Self(address) = self;
        let request = request.header(HOST, address.to_string()).body(body)?;
        let connecting = TcpStream::connect(address);
        let socket = connecting.await.with_context(|| format!("cannot connect to {address}"))?;
        let (mut sender, connection) = handshake(TokioIo::new(socket)).await.context("HTTP")?;
        spawn(connection);
        let response = sender.send_request(request).await.context("no response")?;
        let (head, body) = response.into_parts();
        let body = to_bytes(Body::new(body), BODY_MAX).await.context("the response is incomplete")?;
        Ok(Response { status: head.status, body: serde_json::from_slice(&body).unwrap_or_default() })
    }
}
