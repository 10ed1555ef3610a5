//! A client of event streams.

use anyhow::{Context, Result, ensure};
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::timeout;

use crate::Client;
use crate::wait::TIMEOUT;

/// An event stream, read event by event.
pub struct Events {
    response: Response,
    read: String,
}

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
        let response = request.send().await?;
        ensure!(response.status() == 200, "{response:?}");
        ensure!(response.headers()["content-type"] == "text/event-stream", "{response:?}");
        Ok(Self { response, read: String::new() })
    }

    /// The next event. `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let event = Event::read(block)?;
                let rest = rest.len();
                self.read.drain(..self.read.len() - rest);
                // A block without data is a comment.
                if event.is_some() {
                    return Ok(event);
                }
                continue;
            }
            let chunk =
                timeout(TIMEOUT, self.response.chunk()).await.context("timed out waiting for an event")?;
            match chunk? {
                Some(chunk) => self.read.push_str(std::str::from_utf8(&chunk)?),
                None => return Ok(None),
            }
        }
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
    fn read(block: &str) -> Result<Option<Self>> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let Some(data) = field("data:") else { return Ok(None) };
        let text = |name: &str| field(name).unwrap_or_default().to_owned();
        Ok(Some(Self { id: text("id:"), name: text("event:"), data: serde_json::from_str(data)? }))
    }
}
