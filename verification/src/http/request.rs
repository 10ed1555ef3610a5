//! Requests that are not sent yet.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Request, http};
use serde_json::Value;

use super::{Client, EventStream, HttpResponse, RequestError};

/// A request to the server of a [`Client`]. An invalid path or header is reported when it is sent.
#[must_use = "a request does nothing until it is sent"]
pub struct RequestBuilder<'a> {
    client: &'a Client,
    head: http::request::Builder,
    body: Bytes,
}

impl<'a> RequestBuilder<'a> {
    pub(super) fn new(client: &'a Client, head: http::request::Builder) -> Self {
        Self { client, head, body: Bytes::new() }
    }

    /// Adds a header. A header of the same name is kept.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        Self { head: self.head.header(name, value), ..self }
    }

    pub fn bearer_auth(self, token: &str) -> Self {
        self.header(AUTHORIZATION, format!("Bearer {token}"))
    }

    pub fn json(self, body: &Value) -> Self {
        self.encoded_json(body.to_string())
    }

    /// Sets a body that is already JSON.
    pub fn encoded_json(self, body: impl Into<Bytes>) -> Self {
        self.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body)
    }

    /// Sets a body without a `Content-Type`.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Sends the request and reads the whole response.
    pub async fn send(self) -> Result<HttpResponse, RequestError> {
        let (client, request) = self.build()?;
        client.send(request).await
    }

    /// Sends the request and opens the response as an event stream.
    pub async fn events(self) -> Result<EventStream, RequestError> {
        let (client, request) = self.build()?;
        client.open_events(request).await
    }

    fn build(self) -> Result<(&'a Client, Request<Full<Bytes>>), RequestError> {
        Ok((self.client, self.head.body(Full::new(self.body))?))
    }
}
