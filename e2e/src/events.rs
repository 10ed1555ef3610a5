//! Event streams of the api.

use anyhow::{Context, Result, ensure};
use hamro_verification::http::{self, EventStream};
use hyper::Method;
use serde_json::Value;
use tokio::time::timeout;

use crate::Client;
use crate::wait::TIMEOUT;

/// An event stream, read event by event.
pub struct Events(EventStream);

#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

impl Events {
    pub async fn open(client: &Client, path: &str) -> Result<Self> {
        Self::open_after(client, path, None).await
    }

    /// Opens the stream as a client that has already received the event `last`.
    pub async fn open_after(client: &Client, path: &str, last: Option<&str>) -> Result<Self> {
        let mut request = client.request(Method::GET, path);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let stream = request.events().await?;
        ensure!(stream.status() == 200, "{path}: the status is {}", stream.status());
        let content_type = stream.header("content-type");
        ensure!(content_type == Some("text/event-stream"), "{path}: the content is {content_type:?}");
        Ok(Self(stream))
    }

    /// The next event, except those that say the version of a concert. `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            let event = self.next_of_any_kind().await?;
            if event.as_ref().is_none_or(|event| event.name != "catalogue") {
                return Ok(event);
            }
        }
    }

    /// The next event. `None` at the end of the stream.
    pub async fn next_of_any_kind(&mut self) -> Result<Option<Event>> {
        let event = timeout(TIMEOUT, self.0.next()).await.context("timed out waiting for an event")??;
        event.map(Event::decode).transpose()
    }

    /// Waits for the event with the final status.
    pub async fn settled(&mut self) -> Result<Event> {
        loop {
            let event = self.next().await?.context("the stream ended before the ticket was settled")?;
            if event.id != "queued" {
                return Ok(event);
            }
        }
    }
}

impl Event {
    fn decode(http::Event { id, name, data }: http::Event) -> Result<Self> {
        let data = serde_json::from_str(&data).with_context(|| format!("not JSON: {data}"))?;
        Ok(Self { id, name, data })
    }
}
